// consumer MODEL PICTURE: which share of the picture is enough for the model's answer?
#include <actmatch/actmatch.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const actmatch::Model model(argv[1]);
  actmatch::ExplainOptions options;
  options.steps = 30;
  actmatch::Explainer explainer(model, options);
  const actmatch::Result result = explainer.run(argv[2]);
  const actmatch_summary summary = result.summary();
  const actmatch_explanation found = result.explanation();
  std::cout << summary.class_name << ": " << 100 * found.area << " % of the pixels are enough\n";
  return found.feasible ? 0 : 1;
} catch (const actmatch::Failure& failure) {
  std::cerr << failure.what() << "\n";
  return 1;
}
