// The rules behind the rows of the op table, one set of functions a family of operators. Only op_table.cpp and the tests of the
// rules need this header; everybody else goes through op_table.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch {

using Inputs = std::span<const Value* const>;       // a null pointer for an input left out
using HostInputs = std::span<const Tensor* const>;  // likewise

// Shape rules throw this; Graph::add_node puts the node's name and operator in front.
[[noreturn]] inline void misfit(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }
void require_dtype(const Value& value, DType dtype, const char* role);
void require_rank(const Value& value, size_t rank, const char* role);
// Attributes beyond this are nonsense, and below it sums and products of an extent and a few attributes cannot overflow.
inline constexpr int64_t kLargestAttribute = (int64_t{1} << 31) - 1;
void require_in_range(int64_t attribute, int64_t low, int64_t high, const char* role);

// Shape rules: shapes_{conv,pool,elementwise,movement}.cpp. They throw kInvalidArgument naming the shapes that do not fit.
InferredValue infer_conv(const Attributes& attrs, Inputs inputs);
InferredValue infer_conv_transpose(const Attributes& attrs, Inputs inputs);
InferredValue infer_mat_mul(const Attributes& attrs, Inputs inputs);
InferredValue infer_pool(const Attributes& attrs, Inputs inputs);
InferredValue infer_top_k(const Attributes& attrs, Inputs inputs);
InferredValue infer_resize(const Attributes& attrs, Inputs inputs);
InferredValue infer_reduce(const Attributes& attrs, Inputs inputs);
InferredValue infer_unary(const Attributes& attrs, Inputs inputs);
InferredValue infer_binary(const Attributes& attrs, Inputs inputs);
InferredValue infer_softmax(const Attributes& attrs, Inputs inputs);
InferredValue infer_where(const Attributes& attrs, Inputs inputs);
InferredValue infer_scale_shift(const Attributes& attrs, Inputs inputs);
InferredValue infer_batch_norm(const Attributes& attrs, Inputs inputs);
InferredValue infer_cast(const Attributes& attrs, Inputs inputs);
InferredValue infer_concat(const Attributes& attrs, Inputs inputs);
InferredValue infer_reshape(const Attributes& attrs, Inputs inputs);
InferredValue infer_transpose(const Attributes& attrs, Inputs inputs);
InferredValue infer_slice(const Attributes& attrs, Inputs inputs);
InferredValue infer_pad(const Attributes& attrs, Inputs inputs);
InferredValue infer_gather(const Attributes& attrs, Inputs inputs);
InferredValue infer_expand(const Attributes& attrs, Inputs inputs);

// Which gradients exist and what they read: gradient_rules.cpp.
uint32_t differentiable_inputs(const Attributes& attrs);
BackwardNeeds backward_needs(const Attributes& attrs, const std::vector<bool>& wanted);

// Constant folding: evaluate_{elementwise,movement}.cpp. Inputs have passed the shape rule; `out` is its answer. They throw
// kInvalidArgument where the operator has no result (i64 division by zero, an index out of range).
Tensor evaluate_unary(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_binary(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_where(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_cast(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_reduce(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_top_k(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_softmax(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_mat_mul(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_concat(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_reshape(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_transpose(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_slice(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_pad(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_gather(const Attributes& attrs, HostInputs inputs, const InferredValue& out);
Tensor evaluate_expand(const Attributes& attrs, HostInputs inputs, const InferredValue& out);

}  // namespace actmatch
