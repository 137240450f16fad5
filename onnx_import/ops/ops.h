// The functions that lower ONNX operators, one for each meaning an operator has had. register_ops.cpp says which holds when;
// names end in the first opset of their meaning where there are several. Each throws Unsupported with the reason.
#pragma once

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

// conv.cpp, conv_transpose.cpp, pool.cpp, global_pool.cpp
void lower_conv(NodeContext& c);
void lower_conv_transpose(NodeContext& c);
void lower_max_pool(NodeContext& c);
void lower_average_pool(NodeContext& c);
void lower_global_average_pool(NodeContext& c);
void lower_global_max_pool(NodeContext& c);

// gemm.cpp, mat_mul.cpp
void lower_gemm_1(NodeContext& c);
void lower_gemm(NodeContext& c);
void lower_mat_mul(NodeContext& c);

// batch_normalization.cpp, instance_normalization.cpp, layer_normalization.cpp, lrn.cpp
void lower_batch_normalization_1(NodeContext& c);
void lower_batch_normalization_7(NodeContext& c);
void lower_batch_normalization_9(NodeContext& c);
void lower_batch_normalization_14(NodeContext& c);
void lower_instance_normalization(NodeContext& c);
void lower_layer_normalization(NodeContext& c);
void lower_lrn(NodeContext& c);

// unary.cpp, clip.cpp, prelu.cpp, gelu.cpp, cast.cpp, dropout.cpp
void lower_unary(NodeContext& c);
void lower_leaky_relu(NodeContext& c);
void lower_elu(NodeContext& c);
void lower_selu(NodeContext& c);
void lower_hard_sigmoid(NodeContext& c);
void lower_mish(NodeContext& c);
void lower_identity(NodeContext& c);
void lower_clip_6(NodeContext& c);
void lower_clip_11(NodeContext& c);
void lower_prelu_1(NodeContext& c);
void lower_prelu_7(NodeContext& c);
void lower_gelu(NodeContext& c);
void lower_cast(NodeContext& c);
void lower_cast_like(NodeContext& c);
void lower_dropout_1(NodeContext& c);
void lower_dropout_7(NodeContext& c);
void lower_dropout_12(NodeContext& c);

// arithmetic.cpp, where.cpp
void lower_binary_1(NodeContext& c);
void lower_binary(NodeContext& c);
void lower_pow(NodeContext& c);
void lower_variadic(NodeContext& c);
void lower_mean(NodeContext& c);
void lower_where(NodeContext& c);

// softmax.cpp, reduce.cpp
void lower_softmax_1(NodeContext& c);
void lower_softmax_13(NodeContext& c);
void lower_reduce_1(NodeContext& c);
void lower_reduce_13(NodeContext& c);

// reshape.cpp, flatten.cpp, squeeze.cpp, unsqueeze.cpp, transpose.cpp, depth_to_space.cpp
void lower_reshape_1(NodeContext& c);
void lower_reshape_5(NodeContext& c);
void lower_reshape_14(NodeContext& c);
void lower_flatten(NodeContext& c);
void lower_squeeze_1(NodeContext& c);
void lower_squeeze_13(NodeContext& c);
void lower_unsqueeze_1(NodeContext& c);
void lower_unsqueeze_13(NodeContext& c);
void lower_transpose(NodeContext& c);
void lower_depth_to_space(NodeContext& c);

// concat.cpp, slice.cpp, split.cpp, pad.cpp, gather.cpp, expand.cpp, tile.cpp
void lower_concat_1(NodeContext& c);
void lower_concat_4(NodeContext& c);
void lower_slice_1(NodeContext& c);
void lower_slice_10(NodeContext& c);
void lower_split_2(NodeContext& c);
void lower_split_13(NodeContext& c);
void lower_split_18(NodeContext& c);
void lower_pad_2(NodeContext& c);
void lower_pad_11(NodeContext& c);
void lower_pad_18(NodeContext& c);
void lower_gather(NodeContext& c);
void lower_expand(NodeContext& c);
void lower_tile(NodeContext& c);

// resize.cpp
void lower_upsample_7(NodeContext& c);
void lower_upsample_9(NodeContext& c);
void lower_resize_10(NodeContext& c);
void lower_resize_11(NodeContext& c);
void lower_resize_18(NodeContext& c);

// constant.cpp, constant_of_shape.cpp, range.cpp, shape.cpp, non_zero.cpp
void lower_constant(NodeContext& c);
void lower_constant_of_shape(NodeContext& c);
void lower_range(NodeContext& c);
void lower_shape(NodeContext& c);
void lower_size(NodeContext& c);
void lower_non_zero(NodeContext& c);

// activations.cpp
void lower_celu(NodeContext& c);
void lower_thresholded_relu(NodeContext& c);
void lower_softsign(NodeContext& c);
void lower_shrink(NodeContext& c);
void lower_swish(NodeContext& c);
void lower_swiglu(NodeContext& c);
void lower_sign(NodeContext& c);
void lower_is_nan(NodeContext& c);
void lower_is_inf(NodeContext& c);

// attention.cpp
void lower_attention(NodeContext& c);
void lower_rotary_embedding(NodeContext& c);
void lower_microsoft_attention(NodeContext& c);
void lower_microsoft_multi_head_attention(NodeContext& c);

// cumulative.cpp
void lower_cum_sum(NodeContext& c);
void lower_cum_prod(NodeContext& c);

// depth_to_space.cpp
void lower_space_to_depth_1(NodeContext& c);
void lower_space_to_depth_28(NodeContext& c);

// einsum.cpp
void lower_einsum(NodeContext& c);

// gather_nd.cpp
void lower_gather_elements(NodeContext& c);
void lower_gather_nd(NodeContext& c);

// gelu.cpp
void lower_microsoft_gelu(NodeContext& c);
void lower_microsoft_fast_gelu(NodeContext& c);
void lower_microsoft_quick_gelu(NodeContext& c);

// grid_sample.cpp
void lower_grid_sample_16(NodeContext& c);
void lower_grid_sample_20(NodeContext& c);
void lower_affine_grid(NodeContext& c);

// modulo.cpp
void lower_mod(NodeContext& c);
void lower_xor(NodeContext& c);

// normalization.cpp
void lower_group_normalization_18(NodeContext& c);
void lower_group_normalization_21(NodeContext& c);
void lower_rms_normalization(NodeContext& c);
void lower_mean_variance_normalization(NodeContext& c);
void lower_lp_normalization(NodeContext& c);

// one_hot.cpp
void lower_one_hot(NodeContext& c);

// pick.cpp
void lower_compress(NodeContext& c);
void lower_reverse_sequence(NodeContext& c);
void lower_center_crop_pad(NodeContext& c);

// pool.cpp
void lower_lp_pool(NodeContext& c);
void lower_global_lp_pool(NodeContext& c);

// recurrent.cpp
void lower_rnn(NodeContext& c);
void lower_gru(NodeContext& c);
void lower_lstm(NodeContext& c);

// scatter.cpp
void lower_scatter_elements_9(NodeContext& c);
void lower_scatter_elements_16(NodeContext& c);
void lower_scatter_nd_11(NodeContext& c);
void lower_scatter_nd_16(NodeContext& c);

// top_k.cpp
void lower_arg_1(NodeContext& c);
void lower_arg_12(NodeContext& c);
void lower_top_k_1(NodeContext& c);
void lower_top_k_10(NodeContext& c);
void lower_hardmax_1(NodeContext& c);
void lower_hardmax_13(NodeContext& c);

// triangle.cpp
void lower_trilu(NodeContext& c);
void lower_eye_like(NodeContext& c);

// col2im.cpp
void lower_col2im(NodeContext& c);

// sequence.cpp
void lower_concat_from_sequence(NodeContext& c);
void lower_sequence_at(NodeContext& c);
void lower_sequence_construct(NodeContext& c);
void lower_sequence_empty(NodeContext& c);
void lower_sequence_erase(NodeContext& c);
void lower_sequence_insert(NodeContext& c);
void lower_sequence_length(NodeContext& c);
void lower_split_to_sequence(NodeContext& c);

// fused.cpp
void lower_microsoft_fused_conv(NodeContext& c);
void lower_microsoft_fused_gemm(NodeContext& c);
void lower_microsoft_fused_mat_mul(NodeContext& c);
void lower_microsoft_skip_layer_normalization(NodeContext& c);

// if.cpp, loop.cpp, scan.cpp
void lower_if(NodeContext& c);
void lower_loop(NodeContext& c);
void lower_scan(NodeContext& c);

// quantize_linear.cpp, qlinear.cpp
void lower_quantize_linear(NodeContext& c);
void lower_dequantize_linear(NodeContext& c);
void lower_dynamic_quantize_linear(NodeContext& c);
void lower_qlinear_conv(NodeContext& c);
void lower_qlinear_mat_mul(NodeContext& c);
void lower_conv_integer(NodeContext& c);
void lower_mat_mul_integer(NodeContext& c);
void lower_qlinear_binary(NodeContext& c);
void lower_qlinear_unary(NodeContext& c);
void lower_qlinear_concat(NodeContext& c);
void lower_qgemm(NodeContext& c);

}  // namespace actmatch::onnx_import
