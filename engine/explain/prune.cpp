#include "engine/explain/prune.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"

namespace actmatch {

using kernels::RandomStream;

namespace {

constexpr RandomStream kPruneOnly[] = {RandomStream::kPrune};
constexpr RandomStream kBoth[] = {RandomStream::kPrune, RandomStream::kCertify};

// The tiles of a grid as lists of pixels.
class Tiles {
 public:
  Tiles(int64_t height, int64_t width, int64_t tile)
      : W_(width), H_(height), tile_(tile), columns_((width + tile - 1) / tile), rows_((height + tile - 1) / tile) {}
  int64_t count() const { return rows_ * columns_; }
  template <class Body>
  void each_pixel(int64_t t, const Body& body) const {
    const int64_t y0 = t / columns_ * tile_, x0 = t % columns_ * tile_;
    for (int64_t y = y0; y < std::min(H_, y0 + tile_); ++y)
      for (int64_t x = x0; x < std::min(W_, x0 + tile_); ++x) body(static_cast<size_t>(y * W_ + x));
  }
  std::vector<int64_t> occupied(const HardMask& mask) const {
    std::vector<int64_t> list;
    for (int64_t t = 0; t < count(); ++t) {
      bool any = false;
      each_pixel(t, [&](size_t i) { any = any || mask[i]; });
      if (any) list.push_back(t);
    }
    return list;
  }
  void remove(HardMask& mask, int64_t t) const {
    each_pixel(t, [&](size_t i) { mask[i] = 0; });
  }

 private:
  int64_t W_, H_, tile_, columns_, rows_;
};

class Pruner {
 public:
  Pruner(FeasibilityChecker& checker, const Problem& problem, int64_t H, int64_t W, const PruneProgress& progress)
      : checker_(checker), problem_(problem), H_(H), W_(W), progress_(progress) {}

  int64_t rounds() const { return rounds_; }

  // Removes tiles of one size until no single one can go. `history` receives the mask before each removal.
  void run(HardMask& mask, int64_t tile, std::vector<HardMask>& history) {
    const Tiles tiles(H_, W_, tile);
    if (problem_.criterion.robust)
      sweep(mask, tiles, kPruneOnly, history);
    else
      greedy(mask, tiles, history);
  }

  // Every occupied tile is tested against the current mask in order of importance, until a whole sweep removes nothing.
  void sweep(HardMask& mask, const Tiles& tiles, std::span<const RandomStream> streams, std::vector<HardMask>& history) {
    for (bool changed = true; changed;) {
      changed = false;
      const std::vector<float> importance = checker_.importance(mask, streams.front());
      std::vector<int64_t> order = tiles.occupied(mask);
      std::vector<double> weight(static_cast<size_t>(tiles.count()), 0.0);
      for (int64_t t : order) tiles.each_pixel(t, [&](size_t i) { weight[static_cast<size_t>(t)] += mask[i] ? importance[i] : 0.0f; });
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return weight[static_cast<size_t>(a)] < weight[static_cast<size_t>(b)]; });
      changed = remove_prefix(mask, tiles, order, streams, history) || changed;
      std::vector<int64_t> critical = checker_.critical_order(mask, streams);
      constexpr size_t kTogether = 16;
      for (size_t at = 0; at < order.size(); at += kTogether) {
        std::vector<int64_t> some(order.begin() + static_cast<std::ptrdiff_t>(at),
                                  order.begin() + static_cast<std::ptrdiff_t>(std::min(order.size(), at + kTogether)));
        std::erase_if(some, [&](int64_t t) {
          bool any = false;
          tiles.each_pixel(t, [&](size_t i) { any = any || mask[i]; });
          return !any;
        });
        const auto good = checker_.feasible(without_each(mask, tiles, some), streams, critical);
        std::vector<int64_t> removable;
        for (size_t i = 0; i < some.size(); ++i)
          if (good[i]) removable.push_back(some[i]);
        if (!removable.empty() && remove_prefix(mask, tiles, removable, streams, history)) {
          changed = true;
          critical = checker_.critical_order(mask, streams);
        }
        report(mask);
      }
      ++rounds_;
    }
  }

 private:
  // On the baseline background single removals are cheap: they are tried in every round, and the least harmful go first. Judged by the
  // log-odds, and never more at once than costs kSlack of them: the margin is what later removals live on, so it is not spent early.
  // Two rounds of three look only at the half that was least harmful before.
  void greedy(HardMask& mask, const Tiles& tiles, std::vector<HardMask>& history) {
    constexpr float kSlack = 0.5f;
    std::vector<float> stale(static_cast<size_t>(tiles.count()), 0.0f);
    for (int64_t round = 0;; ++round) {
      std::vector<int64_t> order = tiles.occupied(mask);
      const size_t occupied = order.size();
      const bool full = round % 3 == 0 || occupied < 12;
      if (!full) {
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t a, int64_t b) { return stale[static_cast<size_t>(a)] > stale[static_cast<size_t>(b)]; });
        order.resize((occupied + 1) / 2);
      }
      const auto checks = checker_.baseline(without_each(mask, tiles, order));
      std::vector<size_t> good;
      for (size_t i = 0; i < checks.size(); ++i) {
        stale[static_cast<size_t>(order[i])] = checks[i].log_odds;
        if (checks[i].sufficient) good.push_back(i);
      }
      ++rounds_;
      report(mask);
      if (good.empty()) {
        if (full) return;
        round = -1;  // look at all of them before giving up
        continue;
      }
      std::stable_sort(good.begin(), good.end(), [&](size_t a, size_t b) { return checks[a].log_odds > checks[b].log_odds; });
      const size_t most = std::max<size_t>(1, occupied * 12 / 100);
      std::vector<HardMask> prefixes;
      HardMask current = mask;
      for (size_t i = 0; i < good.size() && i < most; ++i) {
        tiles.remove(current, order[good[i]]);
        if (i < 4 || i % 2 == 1) prefixes.push_back(current);
      }
      const auto found = checker_.baseline(prefixes);
      float best = -INFINITY;
      for (const BaselineCheck& c : found) best = std::max(best, c.log_odds);
      bool removed = false;
      for (size_t i = found.size(); i-- > 0 && !removed;) {
        if (!found[i].sufficient || found[i].log_odds < best - kSlack || count_pixels(prefixes[i]) == 0) continue;
        history.push_back(std::move(mask));
        mask = std::move(prefixes[i]);
        removed = true;
      }
      if (!removed) {
        // Every single removal in `good` is feasible, so the first one is; the best log-odds may have been an infeasible longer prefix.
        if (count_pixels(prefixes[0]) == 0) return;
        history.push_back(std::move(mask));
        mask = std::move(prefixes[0]);
      }
    }
  }

  static std::vector<HardMask> without_each(const HardMask& mask, const Tiles& tiles, const std::vector<int64_t>& list) {
    std::vector<HardMask> singles;
    for (int64_t t : list) {
      singles.push_back(mask);
      tiles.remove(singles.back(), t);
    }
    return singles;
  }

  // Removes the longest prefix (of lengths 1, 2, 3, 4, 6, 8, 12, ...) of `order` that leaves the mask feasible.
  bool remove_prefix(HardMask& mask, const Tiles& tiles, const std::vector<int64_t>& order, std::span<const RandomStream> streams,
                     std::vector<HardMask>& history) {
    std::vector<size_t> lengths;
    for (size_t n = 1; n <= order.size(); n = n < 4 ? n + 1 : n + n / 2) lengths.push_back(n);
    std::vector<HardMask> prefixes;
    HardMask current = mask;
    size_t done = 0;
    for (size_t n : lengths) {
      for (; done < n; ++done) tiles.remove(current, order[done]);
      prefixes.push_back(current);
    }
    const auto good = checker_.feasible(prefixes, streams);
    for (size_t i = good.size(); i-- > 0;) {
      if (!good[i] || count_pixels(prefixes[i]) == 0) continue;
      history.push_back(std::move(mask));
      mask = std::move(prefixes[i]);
      return true;
    }
    return false;
  }

  void report(const HardMask& mask) {
    if (progress_ && !progress_(static_cast<double>(count_pixels(mask)) / static_cast<double>(H_ * W_)))
      throw Error(ErrorCode::kCancelled, "stopped");
  }

  FeasibilityChecker& checker_;
  const Problem& problem_;
  int64_t H_, W_;
  const PruneProgress& progress_;
  int64_t rounds_ = 0;
};

}  // namespace

HardMask level_set(const std::vector<float>& logits, int64_t count, const std::vector<uint8_t>& allowed) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (allowed.empty() || allowed[i]) order.push_back(static_cast<int64_t>(i));
  count = std::min(count, static_cast<int64_t>(order.size()));
  const auto before = [&](int64_t a, int64_t b) {
    const float u = logits[static_cast<size_t>(a)], v = logits[static_cast<size_t>(b)];
    return u > v || (u == v && a < b);
  };
  std::nth_element(order.begin(), order.begin() + count, order.end(), before);
  HardMask mask(logits.size(), 0);
  for (int64_t i = 0; i < count; ++i) mask[static_cast<size_t>(order[static_cast<size_t>(i)])] = 1;
  return mask;
}

PruneResult prune_mask(FeasibilityChecker& checker, const Problem& problem, const ClassifierShape& shape, const std::vector<float>& logits,
                       const std::vector<HardMask>& candidates, const PruneOptions& options, const PruneProgress& progress) {
  const int64_t H = shape.height, W = shape.width, HW = H * W;
  const bool robust = problem.criterion.robust;
  const std::span<const RandomStream> streams = robust ? std::span<const RandomStream>(kPruneOnly) : std::span<const RandomStream>();

  // Starts: level sets from half a percent to everything that is allowed, and the masks met while optimising.
  std::vector<HardMask> starts = candidates;
  for (int64_t i = 0; i < options.levels; ++i) {
    const double area = 0.005 * std::pow(1.0 / 0.005, static_cast<double>(i) / static_cast<double>(options.levels - 1));
    starts.push_back(level_set(logits, std::llround(area * static_cast<double>(HW)), problem.allowed));
  }
  std::stable_sort(starts.begin(), starts.end(), [](const HardMask& a, const HardMask& b) { return count_pixels(a) < count_pixels(b); });

  PruneResult result;
  const auto good = checker.feasible(starts, streams);
  auto first = std::find(good.begin(), good.end(), true);
  if (!robust && first != good.end()) {  // a roomy start prunes further than the tightest one: its margin is what removals are paid with
    const auto checks = checker.baseline(starts);
    for (size_t i = 0; i < starts.size(); ++i)
      if (good[i] && checks[i].p_label >= options.roomy * problem.p_x) {
        first = good.begin() + static_cast<std::ptrdiff_t>(i);
        break;
      }
  }
  if (first == good.end()) {  // honest failure: the start on which the class is likeliest
    const auto checks = checker.baseline(starts);
    const auto best = std::max_element(checks.begin(), checks.end(), [](const auto& a, const auto& b) { return a.p_label < b.p_label; });
    result.mask = starts[static_cast<size_t>(best - checks.begin())];
    result.start_area = static_cast<double>(count_pixels(result.mask)) / static_cast<double>(HW);
    return result;
  }
  result.mask = starts[static_cast<size_t>(first - good.begin())];
  result.start_area = static_cast<double>(count_pixels(result.mask)) / static_cast<double>(HW);

  Pruner pruner(checker, problem, H, W, progress);
  std::vector<HardMask> history;
  for (int64_t factor = std::max<int64_t>(1, options.coarsest); factor >= 1; factor /= 2)
    pruner.run(result.mask, options.tile * factor, history);
  if (robust) {
    // Claims are made on the certify stream. Where pruning went too far for it, removals are taken back, the latest first.
    history.insert(history.begin(), level_set(logits, HW, problem.allowed));
    while (!checker.feasible(result.mask, kBoth) && !history.empty()) {
      result.mask = std::move(history.back());
      history.pop_back();
    }
    result.feasible = checker.feasible(result.mask, kBoth);
    if (result.feasible) {
      std::vector<HardMask> unused;
      pruner.sweep(result.mask, Tiles(H, W, options.tile), kBoth, unused);
    }
  } else {
    result.feasible = true;
  }
  result.minimal = result.feasible;  // every path ends with a sweep that removed nothing
  result.rounds = pruner.rounds();
  return result;
}

bool is_minimal(FeasibilityChecker& checker, const HardMask& mask, int64_t height, int64_t width, int64_t tile, bool robust) {
  const Tiles tiles(height, width, tile);
  std::vector<HardMask> singles;
  for (int64_t t : tiles.occupied(mask)) {
    singles.push_back(mask);
    tiles.remove(singles.back(), t);
    if (count_pixels(singles.back()) == 0) singles.pop_back();  // a mask of one tile is minimal by itself
  }
  if (singles.empty()) return true;
  const std::span<const RandomStream> streams = robust ? std::span<const RandomStream>(kBoth) : std::span<const RandomStream>();
  std::vector<int64_t> critical;
  if (robust) critical = checker.critical_order(mask, streams);
  const auto good = checker.feasible(singles, streams, critical);
  return std::none_of(good.begin(), good.end(), [](bool g) { return g; });
}

}  // namespace actmatch
