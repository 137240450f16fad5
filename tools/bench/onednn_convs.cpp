#include "tools/bench/onednn_convs.h"

#include <omp.h>

#include <unordered_map>

#include "engine/backend/cpu/dnnl_compat.h"

namespace actmatch::bench {

namespace {

using Arguments = std::unordered_map<int, dnnl::memory>;

// Memory of its own, filled with small numbers: zeros and denormals would be another workload.
dnnl::memory filled(const cpu::MemoryDesc& desc, const dnnl::engine& engine) {
  dnnl::memory memory(desc, engine);
  auto* data = static_cast<float*>(memory.get_data_handle());
  uint32_t state = 1;
  for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i) {
    state = state * 1664525u + 1013904223u;
    data[i] = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
  }
  return memory;
}

class Convolution {
 public:
  Convolution(const Graph& graph, const Node& node, const dnnl::engine& engine) : stream_(engine) {
    const auto& a = std::get<ConvAttrs>(node.attrs);
    const Shape &x = graph.value(node.inputs[0]).shape, &w = graph.value(node.inputs[1]).shape, &y = graph.value(node.output).shape;
    Shape weights = w;
    if (a.groups > 1) weights = {a.groups, w[0] / a.groups, w[1], w[2], w[3]};
    cpu::ConvGeometry geometry{{a.strides[0], a.strides[1]}, {a.dilations[0] - 1, a.dilations[1] - 1}, {a.pads[0], a.pads[1]}, {0, 0}};
    for (size_t i = 0; i < 2; ++i)
      geometry.pads_end[i] = (y[2 + i] - 1) * a.strides[i] + (w[2 + i] - 1) * a.dilations[i] + 1 - x[2 + i] - a.pads[i];
    const cpu::MemoryDesc any_x = cpu::any_desc(x), any_w = cpu::any_desc(weights), any_y = cpu::any_desc(y),
                          bias = cpu::plain_desc({w[0]});
    const dnnl::primitive_attr attr = cpu::user_scratchpad_attr();
    const auto forward = cpu::conv_forward_pd(engine, true, any_x, any_w, &bias, any_y, geometry, attr);
    const auto backward = cpu::conv_backward_data_pd(engine, any_x, any_w, any_y, geometry, attr, forward);
    forward_ = dnnl::convolution_forward(forward);
    backward_ = dnnl::convolution_backward_data(backward);
    forward_arguments_ = {{DNNL_ARG_SRC, filled(forward.src_desc(), engine)},
                          {DNNL_ARG_WEIGHTS, filled(forward.weights_desc(), engine)},
                          {DNNL_ARG_BIAS, filled(bias, engine)},
                          {DNNL_ARG_DST, filled(forward.dst_desc(), engine)},
                          {DNNL_ARG_SCRATCHPAD, dnnl::memory(forward.scratchpad_desc(), engine)}};
    backward_arguments_ = {{DNNL_ARG_DIFF_DST, filled(backward.diff_dst_desc(), engine)},
                           {DNNL_ARG_WEIGHTS, filled(backward.weights_desc(), engine)},
                           {DNNL_ARG_DIFF_SRC, filled(backward.diff_src_desc(), engine)},
                           {DNNL_ARG_SCRATCHPAD, dnnl::memory(backward.scratchpad_desc(), engine)}};
    result.name = node.name;
    result.implementation = std::string(forward.impl_info_str()) + " | " + backward.impl_info_str();
  }
  Times forward() { return timed(forward_, forward_arguments_); }
  Times backward() { return timed(backward_, backward_arguments_); }

  ConvTimes result;
  std::vector<Times> forward_times, backward_times;

 private:
  Times timed(const dnnl::primitive& primitive, const Arguments& arguments) {
    const Times start = now();
    primitive.execute(stream_, arguments);
    stream_.wait();
    return now() - start;
  }
  dnnl::stream stream_;
  dnnl::convolution_forward forward_;
  dnnl::convolution_backward_data backward_;
  Arguments forward_arguments_, backward_arguments_;
};

}  // namespace

std::vector<ConvTimes> time_convolutions(const Graph& graph, int rounds, int threads) {
  if (threads > 0) omp_set_num_threads(threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  std::vector<Convolution> convolutions;
  for (const Node& node : graph.nodes())
    if (node.op() == OpKind::kConv) convolutions.emplace_back(graph, node, engine);
  for (int round = -1; round < rounds; ++round) {  // the first round only warms up
    for (Convolution& c : convolutions) {
      const Times t = c.forward();
      if (round >= 0) c.forward_times.push_back(t);
    }
    for (size_t i = convolutions.size(); i-- > 0;) {
      const Times t = convolutions[i].backward();
      if (round >= 0) convolutions[i].backward_times.push_back(t);
    }
  }
  std::vector<ConvTimes> results;
  for (Convolution& c : convolutions) {
    c.result.forward = median(c.forward_times);
    c.result.backward = median(c.backward_times);
    results.push_back(c.result);
  }
  return results;
}

}  // namespace actmatch::bench
