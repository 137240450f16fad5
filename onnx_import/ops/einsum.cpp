// Einstein sums of any number of operands: from left to right, each pair is a matrix product over the axes they share.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

using Labels = std::vector<int>;
constexpr int kEllipsis = 256;  // axis k of an ellipsis, counted from its end, is kEllipsis + k

struct Term {
  ValueId value = kNoValue;
  Labels labels;
};

bool has(const Labels& labels, int label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); }

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts(1);
  for (char character : text) {
    if (character == by)
      parts.emplace_back();
    else
      parts.back() += character;
  }
  return parts;
}

// `ellipsis`: how many axes it stands for.
Labels parse_labels(const std::string& text, int64_t ellipsis, const std::string& equation) {
  Labels labels;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 3, "...") == 0) {
      for (int64_t k = ellipsis; k-- > 0;) labels.push_back(kEllipsis + static_cast<int>(k));
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
      labels.push_back(text[i]);
    } else {
      throw Unsupported("the equation '" + equation + "' is not understood");
    }
  }
  return labels;
}

int64_t extent(const NodeContext& c, const Term& term, int label) {
  const auto at = std::find(term.labels.begin(), term.labels.end(), label) - term.labels.begin();
  return c.shape(term.value)[static_cast<size_t>(at)];
}

void permute(NodeContext& c, Term& term, const Labels& wanted) {
  std::vector<int64_t> perm;
  for (int label : wanted) perm.push_back(std::find(term.labels.begin(), term.labels.end(), label) - term.labels.begin());
  term.value = transpose(c, term.value, perm);
  term.labels = wanted;
}

// A label that an operand has twice walks its diagonal.
void take_diagonals(NodeContext& c, Term& term) {
  for (size_t i = 0; i < term.labels.size(); ++i) {
    const auto again = std::find(term.labels.begin() + static_cast<std::ptrdiff_t>(i) + 1, term.labels.end(), term.labels[i]);
    if (again == term.labels.end()) continue;
    const auto j = static_cast<size_t>(again - term.labels.begin());
    const Shape shape = c.shape(term.value);
    const int64_t n = shape[i];
    if (shape[j] != n) throw Unsupported("its operand " + to_string(shape) + " has no diagonal");
    std::vector<int64_t> perm;
    Shape rest;
    Labels labels;
    for (size_t k = 0; k < shape.size(); ++k) {
      if (k == i || k == j) continue;
      perm.push_back(static_cast<int64_t>(k));
      rest.push_back(shape[k]);
      labels.push_back(term.labels[k]);
    }
    perm.push_back(static_cast<int64_t>(i));
    perm.push_back(static_cast<int64_t>(j));
    labels.push_back(term.labels[i]);
    Shape flat = rest, diagonal = rest;
    flat.push_back(n * n);
    diagonal.push_back(n);
    const ValueId lines = c.reshape(transpose(c, term.value, perm), flat);
    term.value = slice(c, lines, rest.size(), 0, n, n + 1);
    term.labels = labels;
    i = static_cast<size_t>(-1);  // from the start again
  }
}

void sum_over(NodeContext& c, Term& term, const std::set<int>& kept) {
  ReduceAttrs attrs{ReduceKind::kSum, {}, false};
  Labels labels;
  for (size_t i = 0; i < term.labels.size(); ++i) {
    if (kept.contains(term.labels[i]))
      labels.push_back(term.labels[i]);
    else
      attrs.axes.push_back(static_cast<int64_t>(i));
  }
  if (attrs.axes.empty()) return;
  term.value = c.step(attrs, {term.value});
  term.labels = labels;
}

// Both permuted to [shared and kept..., own..., shared and summed...] and multiplied as matrices; integers element by element.
Term contract(NodeContext& c, Term a, Term b, const std::set<int>& kept) {
  std::set<int> kept_a = kept, kept_b = kept;
  kept_a.insert(b.labels.begin(), b.labels.end());
  kept_b.insert(a.labels.begin(), a.labels.end());
  sum_over(c, a, kept_a);
  sum_over(c, b, kept_b);
  Labels batch, own_a, own_b, summed;
  for (int label : a.labels) {
    if (!has(b.labels, label))
      own_a.push_back(label);
    else
      (kept.contains(label) ? batch : summed).push_back(label);
  }
  for (int label : b.labels)
    if (!has(a.labels, label)) own_b.push_back(label);
  Shape batch_a, batch_b, result;
  int64_t rows = 1, columns = 1, inner = 1;
  for (int label : batch) {
    const int64_t p = extent(c, a, label), q = extent(c, b, label);
    if (p != q && p != 1 && q != 1)
      throw Unsupported("its operands differ along an axis they share: " + std::to_string(p) + " and " + std::to_string(q));
    batch_a.push_back(p);
    batch_b.push_back(q);
    result.push_back(p == 1 ? q : p);
  }
  for (int label : own_a) {
    rows *= extent(c, a, label);
    result.push_back(extent(c, a, label));
  }
  for (int label : own_b) {
    columns *= extent(c, b, label);
    result.push_back(extent(c, b, label));
  }
  for (int label : summed) {
    if (extent(c, a, label) != extent(c, b, label))
      throw Unsupported("its operands differ along an axis that is summed: " + std::to_string(extent(c, a, label)) + " and " +
                        std::to_string(extent(c, b, label)));
    inner *= extent(c, a, label);
  }
  const auto joined = [](std::initializer_list<const Labels*> lists) {
    Labels all;
    for (const Labels* list : lists) all.insert(all.end(), list->begin(), list->end());
    return all;
  };
  permute(c, a, joined({&batch, &own_a, &summed}));
  permute(c, b, joined({&batch, &own_b, &summed}));
  if (batch_a == batch_b && !batch_a.empty()) batch_a = batch_b = {element_count(batch_a)};
  const bool integers = c.dtype(a.value) != DType::kF32;
  Shape shape_a = batch_a, shape_b = batch_b;
  shape_a.push_back(rows);
  if (integers) shape_a.push_back(1), shape_b.push_back(1);
  shape_a.push_back(inner);
  shape_b.push_back(columns);
  shape_b.push_back(inner);
  const ValueId left = c.reshape(a.value, shape_a), right = c.reshape(b.value, shape_b);
  const ValueId y =
      integers ? c.step(ReduceAttrs{ReduceKind::kSum, {static_cast<int64_t>(shape_a.size()) - 1}, false}, {multiply(c, left, right)})
               : c.step(MatMulAttrs{false, true}, {left, right});
  return {c.reshape(y, result), joined({&batch, &own_a, &own_b})};
}

}  // namespace

void lower_einsum(NodeContext& c) {
  std::string equation = c.attributes.text("equation", "");
  std::erase_if(equation, [](char character) { return character == ' '; });
  const size_t arrow = equation.find("->");
  const std::vector<std::string> texts = split(equation.substr(0, arrow), ',');
  const std::vector<ValueId> inputs = c.inputs();
  if (texts.size() != inputs.size())
    throw Unsupported("the equation '" + equation + "' has " + std::to_string(texts.size()) + " terms for " +
                      std::to_string(inputs.size()) + " inputs");
  std::vector<Term> terms;
  std::map<int, int> uses;
  int64_t widest = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto named = static_cast<int64_t>(parse_labels(texts[i], 0, equation).size()), rank = c.rank(inputs[i]);
    const bool open = texts[i].find("...") != std::string::npos;
    if (named > rank || (!open && named != rank))
      throw Unsupported("the term '" + texts[i] + "' does not fit an operand of shape " + to_string(c.shape(inputs[i])));
    if (open) widest = std::max(widest, rank - named);
    terms.push_back({inputs[i], parse_labels(texts[i], rank - named, equation)});
    for (int label : terms.back().labels) ++uses[label];
    take_diagonals(c, terms.back());
  }
  Labels wanted;
  if (arrow != std::string::npos) {
    wanted = parse_labels(equation.substr(arrow + 2), widest, equation);
  } else {  // the ellipsis, then what is named once, by the alphabet
    for (int64_t k = widest; k-- > 0;) wanted.push_back(kEllipsis + static_cast<int>(k));
    for (const auto& [label, count] : uses)
      if (label < kEllipsis && count == 1) wanted.push_back(label);
  }
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!uses.contains(wanted[i]) || std::count(wanted.begin(), wanted.end(), wanted[i]) > 1)
      throw Unsupported("the result of '" + equation + "' names an axis twice or one that no operand has");
  Term result = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    std::set<int> kept(wanted.begin(), wanted.end());
    for (size_t later = i + 1; later < terms.size(); ++later) kept.insert(terms[later].labels.begin(), terms[later].labels.end());
    result = contract(c, result, terms[i], kept);
  }
  sum_over(c, result, {wanted.begin(), wanted.end()});
  permute(c, result, wanted);
  c.alias(result.value);
}

}  // namespace actmatch::onnx_import
