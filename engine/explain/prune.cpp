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
constexpr RandomStream kBoth[] = {RandomStream::kPrune, RandomStream::kCertify};

class Pruner {
 public:
  Pruner(FeasibilityChecker& checker, const Problem& problem, int64_t H, int64_t W, const PruneProgress& progress)
      : checker_(checker), problem_(problem), H_(H), W_(W), progress_(progress) {}

  int64_t rounds() const { return rounds_; }

  // Removes tiles, coarse ones first, until no single tile of the finest size can go. `history` receives the mask before each removal.
  void run(HardMask& mask, const PruneOptions& options, std::vector<HardMask>& history) {
    for (int64_t factor = std::max<int64_t>(1, options.coarsest); factor >= 1; factor /= 2) {
      const Tiles tiles(H_, W_, options.tile * factor);
      if (!problem_.criterion.robust) {
        greedy(mask, tiles, history);
        continue;
      }
      spend(mask, tiles, history);
      if (factor == 1) sweep(mask, tiles, kPruneOnly, history);
    }
  }

  // The robust counterpart of greedy(): a shortlist by the gradient, each scored by what odds it leaves on the baseline and on a few
  // backgrounds (others every round, so that no few of them are fitted), then the longest prefix that keeps nearly all of those odds and
  // that is feasible with one background to spare. Ends when two rounds in a row find nothing.
  void spend(HardMask& mask, const Tiles& tiles, std::vector<HardMask>& history) {
    constexpr size_t kShortlist = 40;
    constexpr float kCap = 6.0f, kSlack = 0.15f;
    constexpr int64_t kBackgrounds = 3;
    const int64_t K = problem_.criterion.backgrounds;
    double fraction = 0.15;
    for (int64_t round = 0, failed = 0; failed < 2; ++round) {
      std::vector<int64_t> some, more;
      for (int64_t i = 0; i < std::min(K, 2 * kBackgrounds); ++i) {
        const int64_t number = (round * 2 * kBackgrounds + i) % K;
        if (i < kBackgrounds) some.push_back(number);
        more.push_back(number);
      }
      std::vector<int64_t> order = tiles.occupied(mask);
      const size_t occupied = order.size();
      if (occupied < 2) return;
      const std::vector<double> worth = tiles.sums(checker_.importance(mask, RandomStream::kPrune, more));
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return worth[static_cast<size_t>(a)] < worth[static_cast<size_t>(b)]; });
      if (order.size() > kShortlist) order.resize(kShortlist);
      const auto scores = checker_.spare_odds(without_each(mask, tiles, order), some, kCap);
      std::vector<size_t> by_score(order.size());
      for (size_t i = 0; i < by_score.size(); ++i) by_score[i] = i;
      std::stable_sort(by_score.begin(), by_score.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
      std::vector<HardMask> prefixes;
      HardMask current = mask;
      size_t done = 0;
      for (double share : {0.25, 0.5, 1.0}) {
        const size_t length =
            std::min(order.size(), std::max<size_t>(1, static_cast<size_t>(share * fraction * static_cast<double>(occupied))));
        if (length == done) continue;
        for (; done < length; ++done) tiles.remove(current, order[by_score[done]]);
        prefixes.push_back(current);
      }
      const auto left = checker_.spare_odds(prefixes, more, kCap);
      const auto good =
          checker_.feasible(prefixes, kPruneOnly, {}, std::min<int64_t>(1, K - needed_backgrounds(problem_.criterion.rho, K)));
      const float best = *std::max_element(left.begin(), left.end());
      bool removed = false;
      for (size_t i = prefixes.size(); i-- > 0 && !removed;) {
        if (!good[i] || left[i] < best - kSlack || count_pixels(prefixes[i]) == 0) continue;
        history.push_back(std::move(mask));
        mask = std::move(prefixes[i]);
        removed = true;
      }
      ++rounds_;
      report(mask);
      failed = removed ? 0 : failed + 1;
      if (!removed) fraction *= 0.4;
    }
  }

  // Elimination from several starts, then from unions of what came out: each union has odds to spare and lets the better parts of both win.
  HardMask best_of(std::vector<HardMask> starts, const PruneOptions& options) {
    std::vector<HardMask> found;
    for (HardMask& start : starts) {
      std::vector<HardMask> unused;
      run(start, options, unused);
      found.push_back(std::move(start));
    }
    const auto smaller = [](const HardMask& a, const HardMask& b) { return count_pixels(a) < count_pixels(b); };
    std::stable_sort(found.begin(), found.end(), smaller);
    HardMask best = found.front();
    const Tiles tiles(H_, W_, options.tile);
    for (size_t i = 1; i < found.size(); ++i) {
      HardMask joined = best;
      for (size_t k = 0; k < joined.size(); ++k) joined[k] |= found[i][k];
      if (joined == best || !checker_.baseline(std::span(&joined, 1)).front().sufficient) continue;
      std::vector<HardMask> unused;
      greedy(joined, tiles, unused);
      if (smaller(joined, best)) best = std::move(joined);
    }
    exchange(best, options.tile, options.exchanges);
    return best;
  }

  // Local search from a 1-minimal mask: a tile that raises the log-odds most is put in, and removal starts again; kept when the mask comes
  // out smaller, or as small with better odds. Ends after `patience` exchanges in a row that bring nothing.
  void exchange(HardMask& mask, int64_t tile, int64_t budget) {
    constexpr size_t kCandidates = 12;
    constexpr int64_t kPatience = 6;
    const Tiles tiles(H_, W_, tile);
    std::vector<bool> tried(static_cast<size_t>(tiles.count()), false);
    float odds = checker_.baseline(std::span(&mask, 1)).front().log_odds;
    for (int64_t done = 0, failed = 0; done < budget && failed < kPatience; ++done) {
      const std::vector<double> gain = tiles.sums(checker_.odds_gain(mask));
      std::vector<bool> inside(static_cast<size_t>(tiles.count()), false);
      for (int64_t t : tiles.occupied(mask)) inside[static_cast<size_t>(t)] = true;
      std::vector<int64_t> outside;
      for (int64_t t = 0; t < tiles.count(); ++t)
        if (!inside[static_cast<size_t>(t)] && !tried[static_cast<size_t>(t)]) outside.push_back(t);
      std::stable_sort(outside.begin(), outside.end(),
                       [&](int64_t a, int64_t b) { return gain[static_cast<size_t>(a)] > gain[static_cast<size_t>(b)]; });
      if (outside.size() > kCandidates) outside.resize(kCandidates);
      std::vector<HardMask> bigger;
      for (int64_t t : outside) {
        bigger.push_back(mask);
        tiles.add(bigger.back(), t, problem_.allowed);
      }
      if (bigger.empty()) return;
      const auto checks = checker_.baseline(bigger);
      const auto best =
          std::max_element(checks.begin(), checks.end(), [](const auto& a, const auto& b) { return a.log_odds < b.log_odds; }) -
          checks.begin();
      HardMask candidate = std::move(bigger[static_cast<size_t>(best)]);
      tried[static_cast<size_t>(outside[static_cast<size_t>(best)])] = true;
      if (!checks[static_cast<size_t>(best)].sufficient) {
        ++failed;
        continue;
      }
      std::vector<HardMask> unused;
      greedy(candidate, tiles, unused);
      const float new_odds = checker_.baseline(std::span(&candidate, 1)).front().log_odds;
      const int64_t before = count_pixels(mask), after = count_pixels(candidate);
      if (after < before || (after == before && new_odds > odds + 1e-3f)) {
        if (after < before) {
          failed = 0;
          tried.assign(tried.size(), false);
        }
        mask = std::move(candidate);
        odds = new_odds;
      } else {
        ++failed;
      }
    }
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
    starts.push_back(level_set(logits, std::max<int64_t>(1, std::llround(area * static_cast<double>(HW))), problem.allowed));
  }
  std::stable_sort(starts.begin(), starts.end(), [](const HardMask& a, const HardMask& b) { return count_pixels(a) < count_pixels(b); });

  PruneResult result;
  const auto good = checker.feasible(starts, streams);
  const auto first = std::find(good.begin(), good.end(), true);
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
  if (!robust) {
    // The tightest start, the tightest with nearly all of the probability, and everything: none of them always wins.
    std::vector<HardMask> chosen{result.mask};
    const auto checks = checker.baseline(starts);
    for (size_t i = 0; i < starts.size(); ++i)
      if (good[i] && checks[i].p_label >= options.roomy * problem.p_x) {
        chosen.push_back(starts[i]);
        break;
      }
    if (good.back()) chosen.push_back(starts.back());
    result.mask = pruner.best_of(std::move(chosen), options);
    result.feasible = true;
  } else {
    // Removal lives on the odds to spare, and the tightest feasible level set has none: begin with the largest.
    for (size_t i = starts.size(); i-- > 0;)
      if (good[i]) {
        result.mask = starts[i];
        break;
      }
    std::vector<HardMask> history{result.mask};
    pruner.run(result.mask, options, history);
    // Claims are made on the certify stream. Where pruning went too far for it, removals are taken back, the latest first.
    while (!checker.feasible(result.mask, kBoth) && !history.empty()) {
      result.mask = std::move(history.back());
      history.pop_back();
    }
    result.feasible = checker.feasible(result.mask, kBoth);
    if (result.feasible) {
      std::vector<HardMask> unused;
      pruner.sweep(result.mask, Tiles(H, W, options.tile), kBoth, unused);
    }
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
