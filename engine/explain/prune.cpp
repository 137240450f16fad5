#include "engine/explain/prune.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/error.h"
#include "engine/explain/tile_grid.h"

namespace actmatch {

using kernels::RandomStream;

namespace {

constexpr RandomStream kPruneOnly[] = {RandomStream::kPrune};
constexpr RandomStream kCertifyOnly[] = {RandomStream::kCertify};

// A tile found to be needed stays needed as others go, nearly always: it is not looked at again until nothing else is left to try. What
// counts is the last look, at all tiles of a mask that no longer changes.
class Closed {
 public:
  explicit Closed(const Tiles& tiles) : tiles_(tiles), closed_(static_cast<size_t>(tiles.count()), false) {}
  void close(int64_t tile) { closed_[static_cast<size_t>(tile)] = true; }
  void changed() { changed_ = true; }
  // Tiles of the mask still to be tried. When all are closed and the mask has changed since the last such moment, all are opened again;
  // an empty list is therefore a proof that no tile can go (unless `last_look` is false: then closed tiles stay closed).
  std::vector<int64_t> open(const HardMask& mask, bool last_look) {
    std::vector<int64_t> occupied = tiles_.occupied(mask);
    if (occupied.size() < 2) return {};  // a mask of one tile is minimal by itself
    std::vector<int64_t> left;
    for (int64_t t : occupied)
      if (!closed_[static_cast<size_t>(t)]) left.push_back(t);
    if (!left.empty() || !last_look || !changed_) return left;
    closed_.assign(closed_.size(), false);
    changed_ = false;
    return occupied;
  }

 private:
  const Tiles& tiles_;
  std::vector<bool> closed_;
  bool changed_ = false;
};

Candidates without_each(const HardMask& mask, const Tiles& tiles, const std::vector<int64_t>& list) {
  std::vector<kernels::PixelBox> boxes;
  for (int64_t t : list) boxes.push_back(tiles.box(t));
  return {mask, std::move(boxes)};
}

class Pruner {
 public:
  Pruner(FeasibilityChecker& checker, const Problem& problem, int64_t H, int64_t W, const PruneProgress& progress)
      : checker_(checker), problem_(problem), H_(H), W_(W), progress_(progress) {}

  int64_t rounds() const { return rounds_; }

  // Coarse tiles first, down to the finest; then the tiles of the certificate and the finest in turn until neither can lose one.
  void sufficient(HardMask& mask, const PruneOptions& options) {
    for (int64_t factor = std::max<int64_t>(1, options.coarsest); factor >= 1; factor /= 2)
      eliminate(mask, Tiles(H_, W_, options.tile * factor), false);
    const Tiles tiles(H_, W_, options.tile), finest(H_, W_, std::max<int64_t>(1, options.tile / std::max<int64_t>(1, options.finest)));
    for (bool changed = true; changed;) {
      eliminate(mask, finest, true);
      const int64_t before = count_pixels(mask);
      eliminate(mask, tiles, true);
      changed = count_pixels(mask) < before;
    }
  }

  // Removal against the prune stream, coarse tiles first; the tiles of the certificate are left to sweep(), which is cheaper for many small
  // ones. `history` receives the mask before each removal.
  void robust(HardMask& mask, const PruneOptions& options, std::vector<HardMask>& history) {
    int64_t factor = std::max<int64_t>(1, options.coarsest);
    do spend(mask, Tiles(H_, W_, options.tile * factor), history);
    while ((factor /= 2) >= 2);
  }

  // Tiles go, the least important first, as long as the criterion holds on the certify stream, on which the claims are made. The few
  // backgrounds on which the mask is weakest find out most of the tiles that must stay; of the others as many go at once as can.
  void sweep(HardMask& mask, const Tiles& tiles, bool last_look) {
    constexpr size_t kTogether = 16;
    constexpr int64_t kForGradient = 8;
    Closed closed(tiles);
    std::vector<int64_t> critical = checker_.critical_order(mask, kCertifyOnly);
    const auto weakest = [&](int64_t n) {
      return std::span<const int64_t>(critical).first(std::min(critical.size(), static_cast<size_t>(n)));
    };
    std::vector<float> importance;  // of the current mask; empty: not known yet
    const auto remove = [&](const HardMask& smaller) {
      const std::vector<float> margins = checker_.margins_if_feasible(smaller, RandomStream::kCertify, critical);
      if (margins.empty()) return false;
      std::stable_sort(critical.begin(), critical.end(),
                       [&](int64_t a, int64_t b) { return margins[static_cast<size_t>(a)] < margins[static_cast<size_t>(b)]; });
      mask = smaller;
      importance.clear();
      closed.changed();
      return true;
    };
    for (;;) {
      std::vector<int64_t> open = closed.open(mask, last_look);
      if (open.empty()) return;
      ++rounds_;
      report(mask);
      if (importance.empty()) importance = checker_.importance(mask, RandomStream::kCertify, weakest(kForGradient));
      least_important_first(open, tiles, importance, kTogether);
      const auto possible = checker_.feasible(without_each(mask, tiles, open), kCertifyOnly, weakest(checker_.refuting_count()));
      std::vector<int64_t> survivors;
      for (size_t i = 0; i < open.size(); ++i) possible[i] ? survivors.push_back(open[i]) : closed.close(open[i]);
      while (!survivors.empty()) {
        HardMask smaller = mask;
        for (int64_t t : survivors) tiles.remove(smaller, t);
        if (count_pixels(smaller) > 0 && remove(smaller)) break;
        if (survivors.size() == 1) closed.close(survivors[0]);
        survivors.resize(survivors.size() / 2);
      }
    }
  }

 private:
  // On the baseline background single removals are cheap: a shortlist by the gradient is tried in every round, and the least harmful go
  // first. Judged by the log-odds, and never more at once than costs kSlack of them: the margin is what later removals live on, so it is
  // not spent early. `last_look`: ends only when no tile can go; otherwise when none of those not yet tried can.
  void eliminate(HardMask& mask, const Tiles& tiles, bool last_look) {
    constexpr float kSlack = 0.5f;
    constexpr double kMostAtOnce = 0.12;  // of the mask's tiles
    Closed closed(tiles);
    for (;;) {
      std::vector<int64_t> order = closed.open(mask, last_look);
      if (order.empty()) return;
      const size_t occupied = tiles.occupied(mask).size(), shortlist = std::clamp<size_t>(occupied * 3 / 10, 16, 48);
      if (order.size() > shortlist) least_important_first(order, tiles, checker_.odds_gain(mask), shortlist, &mask);
      const auto checks = checker_.baseline(without_each(mask, tiles, order));
      std::vector<size_t> good;
      for (size_t i = 0; i < checks.size(); ++i) checks[i].sufficient ? good.push_back(i) : closed.close(order[i]);
      ++rounds_;
      report(mask);
      if (good.empty()) continue;
      std::stable_sort(good.begin(), good.end(), [&](size_t a, size_t b) { return checks[a].log_odds > checks[b].log_odds; });
      const size_t most = std::max<size_t>(1, static_cast<size_t>(kMostAtOnce * static_cast<double>(occupied)));
      std::vector<HardMask> prefixes;
      HardMask current = mask;
      for (size_t i = 0, next = 1; i < good.size() && i < most; ++i) {
        tiles.remove(current, order[good[i]]);
        if (i + 1 < next) continue;
        prefixes.push_back(current);
        next = std::max(next + 1, next * 4 / 3);
      }
      const auto found = checker_.baseline(prefixes);
      float best = -INFINITY;
      for (const BaselineCheck& c : found) best = std::max(best, c.log_odds);
      size_t chosen = 0;  // every single removal in `good` is feasible, so the first prefix is
      for (size_t i = 1; i < found.size(); ++i)
        if (found[i].sufficient && found[i].log_odds >= best - kSlack) chosen = i;
      mask = std::move(prefixes[chosen]);
      closed.changed();
    }
  }

  // The robust counterpart of eliminate(): a shortlist by the gradient, each scored by what odds it leaves on the baseline and on a few
  // backgrounds (others every round, so that no few of them are fitted), then the longest prefix that keeps nearly all of those odds and
  // that is feasible with one background to spare. Ends when two rounds in a row find nothing.
  void spend(HardMask& mask, const Tiles& tiles, std::vector<HardMask>& history) {
    constexpr size_t kShortlist = 16;
    constexpr float kCap = 6.0f, kSlack = 0.15f;
    constexpr int64_t kForGradient = 8, kForScores = 2, kForPrefixes = 5;
    const int64_t K = problem_.criterion.backgrounds;
    int64_t next_background = 0;
    const auto fresh = [&](int64_t n) {
      std::vector<int64_t> numbers;
      for (int64_t i = 0; i < std::min(n, K); ++i) numbers.push_back(next_background++ % K);
      return numbers;
    };
    double fraction = 0.2;
    for (int64_t failed = 0; failed < 2;) {
      std::vector<int64_t> order = tiles.occupied(mask);
      const size_t occupied = order.size();
      if (occupied < 2) return;
      const std::vector<int64_t> numbers = fresh(kForGradient);
      least_important_first(order, tiles, checker_.importance(mask, RandomStream::kPrune, numbers), kShortlist);
      const auto scores = checker_.spare_odds(without_each(mask, tiles, order),
                                              std::span(numbers).first(std::min<size_t>(numbers.size(), kForScores)), kCap);
      std::vector<size_t> by_score(order.size());
      std::iota(by_score.begin(), by_score.end(), size_t{0});
      std::stable_sort(by_score.begin(), by_score.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
      std::vector<HardMask> prefixes;
      HardMask current = mask;
      size_t done = 0;
      for (double share : {0.25, 0.5, 1.0}) {
        const auto wanted = std::max<size_t>(1, static_cast<size_t>(share * fraction * static_cast<double>(occupied)));
        const size_t length = std::min({order.size(), wanted, occupied - 1});
        if (length == done) continue;
        for (; done < length; ++done) tiles.remove(current, order[by_score[done]]);
        prefixes.push_back(current);
      }
      const auto left = checker_.spare_odds(prefixes, fresh(kForPrefixes), kCap);
      const float best = *std::max_element(left.begin(), left.end());
      bool removed = false;
      for (size_t i = prefixes.size(); i-- > 0 && !removed;) {
        if (left[i] < best - kSlack || !checker_.feasible(std::span<const HardMask>(&prefixes[i], 1), kPruneOnly, {}, 1).front()) continue;
        history.push_back(std::move(mask));
        mask = std::move(prefixes[i]);
        removed = true;
      }
      ++rounds_;
      report(mask);
      failed = removed ? 0 : failed + 1;
      if (!removed) fraction *= 0.5;
    }
  }

  // Sorts tiles by the sum of the map over them (over the mask, where one is given), the smallest first, and keeps the first `keep`.
  static void least_important_first(std::vector<int64_t>& list, const Tiles& tiles, std::vector<float> map, size_t keep,
                                    const HardMask* mask = nullptr) {
    if (mask)
      for (size_t i = 0; i < map.size(); ++i)
        if (!(*mask)[i]) map[i] = 0;
    const std::vector<double> sum = tiles.sums(map);
    std::stable_sort(list.begin(), list.end(),
                     [&](int64_t a, int64_t b) { return sum[static_cast<size_t>(a)] < sum[static_cast<size_t>(b)]; });
    if (list.size() > keep) list.resize(keep);
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
  for (int64_t i = 1; i <= options.levels; ++i) {
    const double area = std::pow(0.005, 1.0 - static_cast<double>(i) / static_cast<double>(options.levels));
    starts.push_back(level_set(logits, std::max<int64_t>(1, std::llround(area * static_cast<double>(HW))), problem.allowed));
  }
  std::stable_sort(starts.begin(), starts.end(), [](const HardMask& a, const HardMask& b) { return count_pixels(a) < count_pixels(b); });

  const auto smallest = [&](int64_t spare) {
    return std::find_if(starts.begin(), starts.end(),
                        [&](const HardMask& m) -> bool { return checker.feasible(std::span(&m, 1), streams, {}, spare).front(); });
  };
  // Robust removal lives on the odds to spare, and the tightest feasible start has none: begin where two backgrounds more than needed hold.
  auto start = smallest(robust ? 2 : 0);
  if (robust && start == starts.end()) start = smallest(0);
  PruneResult result;
  result.feasible = start != starts.end();
  if (!result.feasible) {  // honest failure: the start on which the class is likeliest
    const auto checks = checker.baseline(starts);
    const auto best = std::max_element(checks.begin(), checks.end(), [](const auto& a, const auto& b) { return a.p_label < b.p_label; });
    start = starts.begin() + (best - checks.begin());
  }
  result.mask = *start;
  result.start_area = static_cast<double>(count_pixels(result.mask)) / static_cast<double>(HW);
  if (!result.feasible) return result;

  Pruner pruner(checker, problem, H, W, progress);
  if (!robust) {
    pruner.sufficient(result.mask, options);
  } else {
    std::vector<HardMask> history{starts.back(), result.mask};
    pruner.robust(result.mask, options, history);
    // Claims are made on the certify stream. Where pruning went too far for it, removals are taken back, the latest first.
    while (!(result.feasible = checker.feasible(result.mask, kCertifyOnly)) && !history.empty()) {
      result.mask = std::move(history.back());
      history.pop_back();
    }
    if (result.feasible)
      for (int64_t factor = std::max<int64_t>(1, options.coarsest); factor >= 1; factor /= 2)
        pruner.sweep(result.mask, Tiles(H, W, options.tile * factor), factor == 1);
  }
  result.minimal = result.feasible;  // every path ends with a look at all tiles that removed nothing
  result.rounds = pruner.rounds();
  return result;
}

bool is_minimal(FeasibilityChecker& checker, const HardMask& mask, int64_t height, int64_t width, int64_t tile, bool robust) {
  const Tiles tiles(height, width, tile);
  const std::vector<int64_t> occupied = tiles.occupied(mask);
  if (occupied.size() < 2) return true;  // a mask of one tile is minimal by itself
  const std::span<const RandomStream> streams = robust ? std::span<const RandomStream>(kCertifyOnly) : std::span<const RandomStream>();
  std::vector<int64_t> critical;
  if (robust) critical = checker.critical_order(mask, streams);
  const auto good = checker.feasible(without_each(mask, tiles, occupied), streams, critical);
  return std::none_of(good.begin(), good.end(), [](bool g) { return g; });
}

}  // namespace actmatch
