// The GELU that exporters write out, x/2 (1 + erf(x / sqrt 2)) or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in place of erf, becomes one
// operator: five to nine passes over memory become one. They write it in many orders, so what stands there is not compared with
// patterns: factors and arguments are read as polynomials in x, whose coefficients have to be right.
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "engine/graph/passes.h"
#include "engine/graph/rewriter.h"

namespace actmatch {
namespace {

using Polynomial = std::array<double, 4>;  // by power of x

constexpr int kDeepest = 6;             // nodes of an argument on top of each other
constexpr double kRoundedTwice = 3e-7;  // relative: constants in the file are of fp32

bool is_close(const Polynomial& p, const Polynomial& wanted) {
  for (size_t i = 0; i < p.size(); ++i)
    if (!(std::fabs(p[i] - wanted[i]) <= kRoundedTwice * std::fabs(wanted[i]))) return false;
  return true;
}

std::optional<Polynomial> product(const Polynomial& a, const Polynomial& b) {
  Polynomial c{};
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j) {
      if (a[i] == 0 || b[j] == 0) continue;
      if (i + j >= c.size()) return std::nullopt;
      c[i + j] += a[i] * b[j];
    }
  return c;
}

class Fuser {
 public:
  Fuser(Graph& graph, const std::vector<ValueId>& keep) : graph_(graph), rewriter_(graph, keep) {}

  void run() {
    for (size_t n = 0; n < rewriter_.size(); ++n)
      if (!rewriter_.removed(n) && is_binary(rewriter_.node(n), BinaryKind::kMul)) fuse(n);
    rewriter_.commit();
  }

 private:
  static bool is_binary(const Node& node, BinaryKind kind) {
    return node.op() == OpKind::kBinary && std::get<BinaryAttrs>(node.attrs).kind == kind;
  }

  const Node* producer(ValueId value) {
    const NodeId n = rewriter_.producer(value);
    return n < 0 ? nullptr : &rewriter_.node(static_cast<size_t>(n));
  }

  std::optional<double> number(ValueId value) const {
    const Value& v = graph_.value(value);
    if (v.kind != ValueKind::kConstant || v.dtype != DType::kF32 || v.constant->count() != 1) return std::nullopt;
    return v.constant->data<float>()[0];
  }

  // The curve in 1 + curve, or null.
  const Node* curve_of(ValueId value) {
    const Node* sum = rewriter_.private_to_one_reader(value) ? producer(value) : nullptr;
    if (!sum || !is_binary(*sum, BinaryKind::kAdd)) return nullptr;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId curve = sum->inputs[i];
      const Node* node = number(sum->inputs[1 - i]) == 1.0 && rewriter_.private_to_one_reader(curve) ? producer(curve) : nullptr;
      if (!node || node->op() != OpKind::kUnary) continue;
      const UnaryKind kind = std::get<UnaryAttrs>(node->attrs).kind;
      if (kind == UnaryKind::kErf || kind == UnaryKind::kTanh) return node;
    }
    return nullptr;
  }

  // Takes a product apart, as far as its parts are read nowhere else: into numbers, one 1 + curve, and the rest.
  struct Factors {
    double number = 1;
    const Node* curve = nullptr;
    std::vector<ValueId> rest;
  };
  void collect(ValueId value, int depth, Factors& factors) {
    if (const auto c = number(value)) {
      factors.number *= *c;
      return;
    }
    if (const Node* curve = factors.curve ? nullptr : curve_of(value)) {
      factors.curve = curve;
      return;
    }
    const Node* node = depth > 0 && rewriter_.private_to_one_reader(value) ? producer(value) : nullptr;
    if (node && is_binary(*node, BinaryKind::kMul)) return collect_product(*node, depth, factors);
    if (node && is_binary(*node, BinaryKind::kDiv) && number(node->inputs[1])) {
      factors.number /= *number(node->inputs[1]);
      return collect(node->inputs[0], depth - 1, factors);
    }
    factors.rest.push_back(value);
  }
  void collect_product(const Node& node, int depth, Factors& factors) {
    const ValueId a = node.inputs[0], b = node.inputs[1];
    collect(a, depth - 1, factors);
    collect(b, depth - 1, factors);
  }

  std::optional<Polynomial> polynomial(ValueId value, ValueId x, int depth) {
    if (value == x) return Polynomial{0, 1};
    if (const auto c = number(value)) return Polynomial{*c};
    const Node* node = depth > 0 ? producer(value) : nullptr;
    if (!node || node->op() != OpKind::kBinary) return std::nullopt;
    const BinaryKind kind = std::get<BinaryAttrs>(node->attrs).kind;
    const ValueId first = node->inputs[0], second = node->inputs[1];
    const auto a = polynomial(first, x, depth - 1), b = polynomial(second, x, depth - 1);
    if (!a || !b) return std::nullopt;
    const auto exponent = number(second);
    switch (kind) {
      case BinaryKind::kAdd: {
        Polynomial sum = *a;
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += (*b)[i];
        return sum;
      }
      case BinaryKind::kMul: return product(*a, *b);
      case BinaryKind::kDiv: return exponent ? product(*a, {1 / *exponent}) : std::nullopt;
      case BinaryKind::kPow: {
        if (exponent != 2.0 && exponent != 3.0) return std::nullopt;
        const auto square = product(*a, *a);
        return square && exponent == 3.0 ? product(*square, *a) : square;
      }
      default: return std::nullopt;
    }
  }

  void fuse(size_t n) {
    Factors factors;
    collect_product(rewriter_.node(n), kDeepest, factors);
    if (!factors.curve || factors.rest.size() != 1 || factors.number != 0.5) return;
    const ValueId x = factors.rest[0], y = rewriter_.node(n).output;
    if (graph_.value(x).shape != graph_.value(y).shape || graph_.value(x).dtype != DType::kF32) return;
    const bool by_erf = std::get<UnaryAttrs>(factors.curve->attrs).kind == UnaryKind::kErf;
    constexpr double kSlope = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
    const Polynomial wanted = by_erf ? Polynomial{0, 1 / std::numbers::sqrt2} : Polynomial{0, kSlope, 0, kSlope * 0.044715};
    const auto argument = polynomial(factors.curve->inputs[0], x, kDeepest);
    if (!argument || !is_close(*argument, wanted)) return;
    rewriter_.replace(n, UnaryAttrs{by_erf ? UnaryKind::kGelu : UnaryKind::kGeluTanh}, {x});
  }

  Graph& graph_;
  Rewriter rewriter_;
};

}  // namespace

void fuse_gelu(Graph& graph, const std::vector<ValueId>& keep) { Fuser(graph, keep).run(); }

}  // namespace actmatch
