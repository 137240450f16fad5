// Devices only move integers; each operator that would compute with them says so.
#include <gtest/gtest.h>

#include "tests/support/tested_backend.h"

namespace actmatch::test {
namespace {

TEST(Integers, AreRefusedWithTheirReason) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {4}), i = graph.add_input("i", DType::kI64, {2});
  const auto refused = [&](const Attributes& attrs, std::vector<ValueId> inputs, const char* part) {
    graph.add_node("node", attrs, std::move(inputs));
    const std::string reason = tested_backend().why_unsupported(graph, graph.nodes().back());
    EXPECT_NE(reason.find(part), std::string::npos) << reason;
  };
  refused(UnaryAttrs{UnaryKind::kNeg}, {i}, "integers");
  refused(BinaryAttrs{BinaryKind::kAdd}, {i, i}, "integers");
  refused(ReduceAttrs{ReduceKind::kSum, {0}, true}, {i}, "integers");
  refused(PadAttrs{{1}, {1}, PadMode::kConstant, 0}, {i}, "integers");
  refused(GatherAttrs{0}, {x, i}, "indices");
  refused(TopKAttrs{0, 1}, {x}, "largest");
}

}  // namespace
}  // namespace actmatch::test
