/* consumer_c MODEL: what is in it? */
#include <actmatch/actmatch.h>
#include <stdio.h>

int main(int argc, char** argv) {
  actmatch_model* model = NULL;
  const char* info = NULL;
  int failed;
  if (argc != 2) return 2;
  failed = actmatch_model_load(argv[1], NULL, &model) || actmatch_model_info(model, &info);
  if (failed)
    fprintf(stderr, "%s\n", actmatch_last_error());
  else
    printf("%s\n", info);
  actmatch_model_free(model);
  return failed;
}
