/* The interface from C: this file is compiled as C11, which shows that the header is C. Returns 0, or the line where something was wrong.
 */
#include <actmatch/actmatch.h>
#include <string.h>

static int steps_seen;

static int count_steps(const actmatch_progress* progress, void* user) {
  if (progress->step > *(int64_t*)user) *(int64_t*)user = progress->step;
  ++steps_seen;
  return 0;
}

static int stop_at_once(const actmatch_progress* progress, void* user) {
  (void)progress;
  (void)user;
  return 1;
}

/* Counts what arrives in order; frees it. */
static int receive(size_t index, actmatch_result* result, actmatch_status status, const char* message, void* user) {
  size_t* next = (size_t*)user;
  if (index == *next && status == ACTMATCH_OK && result && !message) ++*next;
  actmatch_result_free(result);
  return 0;
}

#define EXPECT(condition) \
  if (!(condition)) return __LINE__

int actmatch_c_client(const char* model_path, const char* image_path, const char* folder) {
  actmatch_model* model = NULL;
  actmatch_explainer* explainer = NULL;
  actmatch_result* result = NULL;
  actmatch_explain_options options;
  actmatch_summary summary;
  actmatch_explanation explanation;
  actmatch_picture pictures[2];
  actmatch_batch_options batch;
  size_t received = 0;
  int64_t last_step = 0;
  const char* text = NULL;

  EXPECT(strlen(actmatch_version()) > 0);
  EXPECT(actmatch_model_load("no such file", NULL, &model) == ACTMATCH_NOT_FOUND);
  EXPECT(model == NULL);
  EXPECT(strstr(actmatch_last_error(), "no such file"));
  EXPECT(actmatch_model_load(NULL, NULL, &model) == ACTMATCH_INVALID_ARGUMENT);
  EXPECT(actmatch_model_load(model_path, NULL, &model) == ACTMATCH_OK);

  actmatch_explain_options_init(&options);
  options.steps = 5;
  options.backgrounds = 4;
  options.class_name = "no such class";
  EXPECT(actmatch_explainer_create(model, &options, &explainer) == ACTMATCH_NOT_FOUND);
  EXPECT(explainer == NULL);
  options.class_name = NULL;
  EXPECT(actmatch_explainer_create(model, &options, &explainer) == ACTMATCH_OK);
  actmatch_model_free(model); /* the explainer keeps what it needs */

  EXPECT(actmatch_explainer_run_file(explainer, image_path, stop_at_once, NULL, &result) == ACTMATCH_CANCELLED);
  EXPECT(result == NULL);
  EXPECT(actmatch_explainer_run_file(explainer, image_path, count_steps, &last_step, &result) == ACTMATCH_OK);
  EXPECT(last_step == 5);
  EXPECT(steps_seen >= 5);

  summary.struct_size = sizeof(summary);
  EXPECT(actmatch_result_summary(result, &summary) == ACTMATCH_OK);
  EXPECT(summary.instances == 1 && summary.width == 96 && summary.height == 96);
  memset(&explanation, 0, sizeof(explanation));
  EXPECT(actmatch_result_explanation(result, 0, &explanation) == ACTMATCH_INVALID_ARGUMENT); /* struct_size is not set */
  explanation.struct_size = sizeof(explanation);
  EXPECT(actmatch_result_explanation(result, 1, &explanation) == ACTMATCH_NOT_FOUND);
  EXPECT(actmatch_result_explanation(result, 0, &explanation) == ACTMATCH_OK);
  EXPECT(explanation.mask && explanation.soft && explanation.area > 0.0 && explanation.area <= 1.0);
  EXPECT(actmatch_result_json(result, 0, &text) == ACTMATCH_OK && text[0] == '{');
  EXPECT(actmatch_result_write(result, folder) == ACTMATCH_OK);
  /* A caller built against an older, shorter structure gets as much as that has. */
  explanation.struct_size = offsetof(actmatch_explanation, p_e);
  explanation.p_e = -1.0;
  EXPECT(actmatch_result_explanation(result, 0, &explanation) == ACTMATCH_OK);
  EXPECT(explanation.p_e == -1.0 && explanation.label_kept == 1);

  memset(pictures, 0, sizeof(pictures));
  pictures[0].struct_size = pictures[1].struct_size = sizeof(actmatch_picture);
  pictures[0].path = pictures[1].path = image_path;
  actmatch_batch_options_init(&batch);
  batch.batch = 2;
  EXPECT(actmatch_explainer_run_batch(explainer, pictures, 2, &batch, NULL, receive, &received) == ACTMATCH_OK);
  EXPECT(received == 2);

  actmatch_result_free(result);
  actmatch_explainer_free(explainer);
  actmatch_result_free(NULL);
  actmatch_explainer_free(NULL);
  actmatch_model_free(NULL);
  return 0;
}
