#!/usr/bin/env python3
"""The forward pass of ONNX models by the engine and by ONNX Runtime's CPU provider, in turn, in one run; prints times and their ratios.

    tools/bench/compare_forward.py build/actmatch_forward MODEL.onnx [...] [--threads 1] [--batch 1 8] [--rounds 15] [--write docs/measured/forward.md]

Both are started once a model and batch, get the same picture, must agree, and then take turns: a few passes of one, a few of the other, with a
rest between, since the threads of a pool turn on for a while after its work is done and take the processors of who comes next. The ratio is that of
the medians, `least` that of the quickest passes. With one thread processor time is compared (on a machine that does other work too, the wall clock
tells less), with several the wall clock (threads that wait burn processor time): on a machine that is free. Needs onnxruntime and numpy (PyPI); build with -DACTMATCH_BENCH=ON. --write replaces the rows of a table of that file.
"""
import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

BOUND = 1.3
REST = 0.05  # seconds


class Peer:
    def __init__(self, model, x, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: x}

    def run(self):
        return self.session.run(None, self.feed)[0]

    def passes(self, count):
        times = []
        for _ in range(count):
            wall, cpu = time.perf_counter(), time.process_time()
            self.run()
            times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
        return times


class Engine:
    def __init__(self, program, model, x, threads, folder):
        np.save(folder / "x.npy", x)
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen([program, str(model), "--batch", str(x.shape[0]), "--threads", str(threads), "--input", folder / "x.npy",
                                         "--output", folder / "y.npy", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=environment)
        ready = self.process.stdout.readline()
        if not ready.startswith("ready"):
            raise RuntimeError(f"{program} did not start with {model}")
        self.description = ready.split(" ", 1)[1].strip()
        self.first = np.load(folder / "y.npy")

    def passes(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        values = [float(v) for v in self.process.stdout.readline().split()]
        return list(zip(values[::2], values[1::2]))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def picture(dims):
    """Normalised noise with coarse and fine structure: pure white noise drives some networks far from where they work."""
    random = np.random.default_rng(0)
    x = 0.5 * random.standard_normal(dims)
    for cells in (2, 7, 20):
        grid = random.standard_normal([dims[0], dims[1], cells, cells])
        x += np.kron(grid, np.ones([1, 1] + [-(-d // cells) for d in dims[2:]]))[:, :, :dims[2], :dims[3]]
    return (x / 1.8).astype(np.float32)


def compare(program, model, batch, threads, seconds, rounds):
    """Medians and least times of both, in ms."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    dims = [d if isinstance(d, int) else 0 for d in session.get_inputs()[0].shape]
    del session
    if dims[0] not in (0, batch):
        raise ValueError(f"the file's batch is {dims[0]}")
    x = picture([batch] + dims[1:])
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(model, x, threads)
        engine = Engine(program, model, x, threads, pathlib.Path(folder))
        theirs = peer.run()
        error = np.linalg.norm(engine.first.astype(np.float64) - theirs) / max(np.linalg.norm(theirs.astype(np.float64)), 1e-30)
        one = max(peer.passes(1)[0][0], engine.passes(1)[0][0])
        count = max(1, min(10, int(1e3 * seconds / rounds / 2 / max(one, 1e-3))))
        ours, others = [], []
        for _ in range(rounds):
            time.sleep(REST)
            ours += engine.passes(count)
            time.sleep(REST)
            others += peer.passes(count)
        engine.close()
    pick = {"wall": 0, "cpu": 1}
    result = {"error": float(error), "engine": engine.description, "passes": len(ours)}
    for clock, i in pick.items():
        result[clock] = (statistics.median(t[i] for t in ours), statistics.median(t[i] for t in others))
        result[f"least {clock}"] = (min(t[i] for t in ours), min(t[i] for t in others))
    return result


def write(path, threads, lines, description):
    """Replaces the table of so many threads."""
    start, end = f"<!-- {threads} thread(s) -->", f"<!-- end of {threads} thread(s) -->"
    text = path.read_text()
    before, rest = text.split(start)
    after = rest.split(end)[1]
    path.write_text(before + start + "\n" + description + "\n\n" + "\n".join(lines) + "\n" + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built actmatch_forward")
    parser.add_argument("models", nargs="+", help=".onnx files with a free batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7, help="turns")
    parser.add_argument("--seconds", type=float, default=6, help="for a model and batch, about")
    parser.add_argument("--write", type=pathlib.Path, help="a file with a table of so many threads, which is replaced")
    args = parser.parse_args()
    decides, other = ("cpu", "wall") if args.threads == 1 else ("wall", "cpu")
    lines = [f"| model | batch | engine, ms {decides} | ONNX Runtime, ms {decides} | ratio | least | {other} | |", "|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines))
    worst = 0
    for model in args.models:
        for batch in args.batch:
            try:
                r = compare(args.program, pathlib.Path(model), batch, args.threads, args.seconds, args.rounds)
            except Exception as error:
                print(f"| {pathlib.Path(model).stem} | {batch} | {str(error).splitlines()[0][:150]} |", flush=True)
                continue
            ratio, least, beside = (r[clock][0] / r[clock][1] for clock in (decides, f"least {decides}", other))
            worst = max(worst, ratio)
            note = "slower" if ratio > BOUND else ""
            note += f" DIFFERS by {r['error']:.0e}" if r["error"] > 1e-3 else ""
            lines.append(f"| {pathlib.Path(model).stem.rpartition('-')[2]} | {batch} | {r[decides][0]:.1f} "
                         f"| {r[decides][1]:.1f} | {ratio:.2f} | {least:.2f} | {beside:.2f} | {note} |")
            print(lines[-1], flush=True)
            engine = r["engine"]
    if args.write:
        processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
        write(args.write, args.threads, lines, f"{processor}; {engine}; ONNX Runtime {onnxruntime.__version__}; {args.threads} thread(s) each.")
    print(f"worst ratio {worst:.2f}")


if __name__ == "__main__":
    sys.exit(main())
