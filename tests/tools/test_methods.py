#!/usr/bin/env python3
"""The methods' table on runs that a stand-in for the program has written: seeds, pictures with and without boxes, equal names, who is behind whom.

    tests/tools/test_methods.py SOURCE
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))
PROGRAM = SOURCE / "tools/quality/methods.py"


def record(image, method, metrics, seed=0, status="ok", variant="", passes=10, **more):
    return {"image": image, "asked_class": "", "method": method, "variant": variant, "seed": seed, "status": status, "class": 3,
            "passes": passes, "seconds": 0.5, "metrics": metrics, **more}


class Methods(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        self.run_folder = self.path / "run"
        self.run_folder.mkdir()
        self.program = self.path / "actmatch"  # the records are there already
        self.program.write_text("#!/bin/sh\nexit 0\n")
        self.program.chmod(0o755)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, records, name="results.jsonl"):
        (self.run_folder / name).write_text("".join(json.dumps(r) + "\n" for r in records))

    def call(self, *more, status=0):
        done = subprocess.run([sys.executable, PROGRAM, self.program, "net.onnx", "--images", "none", "--out", self.run_folder, *more],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout + done.stderr

    def cells(self, text, method, table=0):
        row = [line for line in text.splitlines() if line.startswith(f"| {method} |")][table]
        heads = [line for line in text.splitlines() if line.startswith("| method |")][table]
        return dict(zip([c.strip() for c in heads.split("|")], [c.strip() for c in row.split("|")]))

    def test_seeds_are_averaged(self):
        self.write([record("a.jpg", "m", {"area": 0.1}, seed=0), record("a.jpg", "m", {"area": 0.3}, seed=1, passes=30),
                    record("b.jpg", "m", {"area": 0.5})])
        cells = self.cells(self.call(), "m")
        self.assertEqual(cells["area of the pruned mask ↓"], "**0.350**")  # (0.2 + 0.5) / 2, not the last seed's 0.4
        self.assertEqual((cells["pictures"], cells["passes"]), ("2", "15"))

    def test_a_record_made_again_counts_once_and_failures_not_at_all(self):
        self.write([record("a.jpg", "m", {"area": 0.9}), record("a.jpg", "m", {"area": 0.1}), record("a.jpg", "m", {}, seed=1, status="failed")])
        self.assertEqual(self.cells(self.call(), "m")["area of the pruned mask ↓"], "**0.100**")

    def test_pictures_of_one_name_in_two_folders_stay_two(self):
        self.write([record("x/a.jpg", "m", {"area": 0.1}), record("y/a.jpg", "m", {"area": 0.2})])
        self.assertEqual(self.cells(self.call(), "m")["pictures"], "2")

    def test_columns_of_some_pictures_say_of_how_many(self):
        self.write([record(image, method, {"area": 0.1, **({"pointing": 1} if image == "a.jpg" else {})})
                    for image in ("a.jpg", "b.jpg") for method in ("m", "n")])
        cells = self.cells(self.call(), "m")
        self.assertIn("pointing ↑ (of 1)", cells)
        self.assertIn("area of the pruned mask ↓", cells)

    def test_the_best_is_that_of_pictures_that_all_have(self):
        # n lacks the figure of the hard picture: its mean is better for that only.
        self.write([record("a.jpg", "m", {"energy": 0.6}), record("b.jpg", "m", {"energy": 0.2}), record("a.jpg", "n", {"energy": 0.5}),
                    record("b.jpg", "n", {})])
        text = self.call()
        self.assertEqual(self.cells(text, "m")["energy ↑"], "**0.40** (of 2)")
        self.assertEqual(self.cells(text, "n")["energy ↑"], "0.50 (of 1)")

    def test_rarer_columns_have_a_table_of_their_own(self):
        self.write([record("a.jpg", "m", {"area": 0.1, "fidelity": 0.75, "p_ratio_mean": 0.9, "removable_tiles": 2, "stability_p_mean": 0.2,
                                          "increase": 1})])
        text = self.call()
        self.assertNotIn("increase", text)
        self.assertEqual(len(self.cells(text, "m")), 6)  # the edge, method, pictures, passes, seconds, area
        second = self.cells(text, "m", 1)
        self.assertEqual([v for v in second.values() if v], ["m", "1", "**0.75**", "**0.90**", "**0.200**", "**2.00**", "**1.00**"])
        self.write([record("a.jpg", "m", {"area": 0.1})])
        self.assertEqual(self.call().count("| method |"), 1)

    def test_intervals(self):
        self.write([record(f"{i}.jpg", "m", {"area": i / 10}) for i in range(10)])
        self.assertNotIn(" to ", self.call())
        text = self.cells(self.call("--intervals"), "m")["area of the pruned mask ↓"]
        self.assertTrue(text.startswith("**0.450** ("), text)
        low, high = map(float, text[11:-1].split(" to "))
        # The mean's deviation is 0.287 / sqrt(10) = 0.091; of 2000 samples the ends are good to a few hundredths.
        self.assertAlmostEqual(low, 0.45 - 1.96 * 0.091, delta=0.03)
        self.assertAlmostEqual(high, 0.45 + 1.96 * 0.091, delta=0.03)

    def test_who_is_behind_whom(self):
        self.write([record(f"{i}.jpg", method, {"area": area + 0.001 * i, "insertion_auc": insertion}) for i in range(5)
                    for method, area, insertion in (("m", 0.2, 0.9), ("n", 0.1, 0.8), ("o", 0.15 + 0.09 * (-1) ** i, 0.7))])
        lines = self.call("--behind", "m").splitlines()
        self.assertEqual(lines[0], "area of the pruned mask ↓: 0.202 of 5; better: n 0.102* (5 : 0), o 0.170 (2 : 3)")
        self.assertEqual(lines[1], "insertion ↑: 0.900 of 5; better: none")
        self.assertIn("no result of 'nobody'; there are m, n, o", self.call("--behind", "nobody", status=1))

    def test_wins(self):
        self.write([record(i, method, {"area": area}) for i in ("a.jpg", "b.jpg") for method, area in (("m", 0.2), ("n", 0.1))])
        self.assertIn("area of the pruned mask ↓: 0 : 2 n", self.call("--wins", "m"))

    def test_rows_of_earlier_files_count(self):
        rows = self.path / "rows.csv"
        rows.write_text("image,class,method,passes,seconds,sufficient_area,area\na.jpg,3,old,7,0.1,0.5,0.25\n")
        self.write([record("a.jpg", "m", {"area": 0.1, "increase": 1})])
        text = self.call("--rows", rows)
        self.assertEqual(self.cells(text, "old")["area of the pruned mask ↓"], "0.250")
        self.assertEqual(rows.read_text(), "image,class,method,passes,seconds,sufficient_area,area,increase\n"
                         "a.jpg,3,m,10,0.5,,0.1,1\na.jpg,3,old,7,0.1,0.5,0.25,\n")
        self.assertEqual(self.cells(self.call("--rows", rows), "m", 1)["p rises under the soft map ↑"], "**1.00**")

    def test_the_block_of_a_page_is_replaced(self):
        page = self.path / "page.md"
        page.write_text("before\n<!-- net -->\nold\n<!-- end of net -->\nafter\n")
        self.write([record("a.jpg", "m", {"area": 0.1, "increase": 1})])
        self.call("--write", page)
        text = page.read_text()
        self.assertTrue(text.startswith("before\n<!-- net -->\n| method |") and text.endswith("|\n<!-- end of net -->\nafter\n"), text)
        self.assertNotIn("old", text)


unittest.main()
