/* actmatch: which pixels made this classifier say that?
 *
 * The C interface of the engine. Load a classifier from an ONNX file, explain pictures, read and write what was found.
 *
 *   actmatch_model* model = NULL;
 *   actmatch_explainer* explainer = NULL;
 *   actmatch_result* result = NULL;
 *   actmatch_explain_options options;
 *   actmatch_explain_options_init(&options);
 *   options.preprocess = "imagenet";
 *   if (actmatch_model_load("resnet18.onnx", NULL, &model) ||
 *       actmatch_explainer_create(model, &options, &explainer) ||
 *       actmatch_explainer_run_file(explainer, "cat.jpg", NULL, NULL, &result) ||
 *       actmatch_result_write(result, "out/cat"))
 *     fprintf(stderr, "%s\n", actmatch_last_error());
 *   actmatch_result_free(result);
 *   actmatch_explainer_free(explainer);
 *   actmatch_model_free(model);
 *
 * Rules that hold throughout:
 * - A function that can fail returns a status; 0 is success. On failure the thread's last-error text says in one line what is wrong,
 *   where, and what to do about it; handles given out through pointers are then NULL.
 * - Texts are UTF-8. A `const char*` or array handed out belongs to the handle it came from and lives as long as that.
 * - NULL in an option means its default. Freeing NULL does nothing.
 * - Structures begin with struct_size: set by the *_init functions, or by hand to sizeof the structure. Later versions only append.
 * - A handle is used by one thread at a time. An explainer keeps its model alive and uses the model's device: use the explainers of one
 *   model one after the other; different models may work in parallel. */
#ifndef ACTMATCH_ACTMATCH_H
#define ACTMATCH_ACTMATCH_H

#include <stddef.h>
#include <stdint.h>

#define ACTMATCH_VERSION_MAJOR 0
#define ACTMATCH_VERSION_MINOR 1
#define ACTMATCH_VERSION_PATCH 0

#if defined(__GNUC__)
#define ACTMATCH_API __attribute__((visibility("default")))
#else
#define ACTMATCH_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum actmatch_status {
  ACTMATCH_OK = 0,
  ACTMATCH_INVALID_ARGUMENT = 1, /* asked for something that does not exist or does not fit */
  ACTMATCH_NOT_FOUND = 2,        /* a file or a name that is not there */
  ACTMATCH_FORMAT = 3,           /* a file that is not what it claims to be */
  ACTMATCH_UNSUPPORTED = 4,      /* well-formed, but this engine or this build cannot do it */
  ACTMATCH_IO = 5,               /* reading or writing failed, or a device was lost */
  ACTMATCH_OUT_OF_MEMORY = 6,
  ACTMATCH_CANCELLED = 7, /* a progress callback asked to stop */
  ACTMATCH_INTERNAL = 8   /* a bug in the engine */
} actmatch_status;

ACTMATCH_API const char* actmatch_version(void);                       /* "0.1.0" */
ACTMATCH_API const char* actmatch_status_name(actmatch_status status); /* "not found" */
ACTMATCH_API const char* actmatch_last_error(void);                    /* of this thread's latest failure; "" before the first */
/* The devices that can be used, the one that "auto" takes first: [{"name": "cpu", "description": "...", "precisions": ["fp32"]}]. Where
 * there is no GPU, a last entry {"name": "cuda", "missing": "..."} says why. Lives until the thread's next call. */
ACTMATCH_API actmatch_status actmatch_devices_json(const char** json);
/* The pictures directly in a folder, sorted by name; a path that is no folder is taken as one picture, unread. The list lives until the
 * thread's next call of this function. */
ACTMATCH_API actmatch_status actmatch_list_images(const char* path, const char* const** paths, size_t* count);

/* --- models ------------------------------------------------------------------------------------------------------------------------ */

typedef struct actmatch_model actmatch_model;

/* One line about something that costs time or memory but no result, such as plans that have to be measured anew. Comes during any call that
 * uses the model, on that call's thread. Must not throw. */
typedef void (*actmatch_notice_callback)(const char* message, void* user);

typedef struct actmatch_model_options {
  size_t struct_size;
  const char* device;              /* "auto" (default): the first GPU, otherwise the CPU; "cpu"; "cuda": the first GPU; "cuda:N" */
  int threads;                     /* of the CPU; 0 (default): as many as the environment allows */
  const char* precision;           /* "fp32" (default) anywhere; "tf32" and "bf16" on GPUs */
  actmatch_notice_callback notice; /* NULL (default): nobody listens */
  void* notice_user;
  /* What the file leaves open about a classifier; NULL (default): as it looks. In a result.json under model_options. */
  const char* input;        /* name of the input that takes the picture */
  const char* output;       /* name of the value that has the scores: an output of the file, or what some node gives */
  const char* head;         /* "auto"; "softmax": one class wins; "sigmoid": each label is decided by itself; "binary": one score */
  const char* input_shape;  /* of that input, for sizes that are open: "224x224" (height, width), or all extents, "1x3x224x224" */
  const char* layout;       /* "auto", "nchw", "nhwc" */
  const char* fixed_inputs; /* values of the other inputs, "training=0,temperature=1" */
} actmatch_model_options;

ACTMATCH_API void actmatch_model_options_init(actmatch_model_options* options);
/* Reads an ONNX file. What is not supported in it shows in the info; explaining or running such a model fails, naming all of it. */
ACTMATCH_API actmatch_status actmatch_model_load(const char* path, const actmatch_model_options* options, actmatch_model** model);
ACTMATCH_API void actmatch_model_free(actmatch_model* model);
/* What is in the file, as a JSON object: path, device, precision, producer, ir_version, opset, inputs, outputs, operators (with counts),
 * nodes, parameters, multiply_adds, external_files, notices (what was taken in another way than the file says), unsupported (node, op,
 * opset, message), seconds (read: opening the file; check: lowering it once; weights: looking for NaN; lower, optimise: the graph without
 * weights), and either classifier (input, output, channels, height, width, classes, softmax, taps, head, sigmoid, layout, and takes: "raw"
 * for 0..255 or "unit" for 0..1 where the model normalises its input itself) or not_explainable, the reason why not. */
ACTMATCH_API actmatch_status actmatch_model_info(actmatch_model* model, const char** json);

/* --- named arrays, and running a model on them ---------------------------------------------------------------------------------------- */

typedef struct actmatch_tensors actmatch_tensors; /* a list of named arrays, row-major: floats, whole numbers or truth values */

ACTMATCH_API actmatch_status actmatch_tensors_create(actmatch_tensors** tensors);
ACTMATCH_API void actmatch_tensors_free(actmatch_tensors* tensors);
/* Copies the array in. */
ACTMATCH_API actmatch_status actmatch_tensors_add(actmatch_tensors* tensors, const char* name, const int64_t* shape, size_t rank,
                                                  const float* data);
/* Reads a NumPy .npy file, whatever its numbers are. */
ACTMATCH_API actmatch_status actmatch_tensors_add_npy(actmatch_tensors* tensors, const char* name, const char* path);
ACTMATCH_API size_t actmatch_tensors_count(const actmatch_tensors* tensors);
/* `data`: the elements as floats, also where the array holds whole numbers or truth values. Not for one list in several threads. */
ACTMATCH_API actmatch_status actmatch_tensors_get(const actmatch_tensors* tensors, size_t index, const char** name, const int64_t** shape,
                                                  size_t* rank, const float** data);
/* Writes FOLDER/NAME.npy for each array, atomically; characters of a name outside [A-Za-z0-9._-] become '_'. The folder is made. */
ACTMATCH_API actmatch_status actmatch_tensors_write_npy(const actmatch_tensors* tensors, const char* folder);

/* Runs the graph of the file on `inputs`, whose shapes it takes; numbers become what the input takes where they can. The name of an input
 * may be "" when the model has only one.
 * `gradient`: NULL, "OUTPUT" (the sum of that output) or "OUTPUT:CLASS" (the sum of its column CLASS, axis 1).
 * `outputs` receives every output of the model under its name and, with a gradient, "grad_INPUT" for every input of floats.
 * Inputs that operators of the model take as constants only (shapes, axes) are that, with what is given; they have no gradient. */
ACTMATCH_API actmatch_status actmatch_model_run(actmatch_model* model, const actmatch_tensors* inputs, const char* gradient,
                                                actmatch_tensors** outputs);

/* --- explaining ---------------------------------------------------------------------------------------------------------------------- */

typedef struct actmatch_explainer actmatch_explainer;
typedef struct actmatch_result actmatch_result;

/* The methods there are, as a JSON array of objects: name, about. What comes after the map (level set, pruning, checks) is the same for
 * all. */
ACTMATCH_API actmatch_status actmatch_methods_json(const char** json);

typedef struct actmatch_explain_options {
  size_t struct_size;
  const char* recipe;     /* name of a built-in recipe or path of a JSON file, with the method's options; default "default",
                           * with several instances or a trained explainer "one-mask" */
  const char* generator;  /* "csae", "unet", "grid", of activation matching alone; default: the recipe's. Or the file of a trained explainer
                             (actmatch_train): with no method, recipe and steps given it answers in one forward pass (the method
                             "amortised"), otherwise activation matching begins from its answer */
  const char* class_name; /* index or name of the class to explain; default: the picture's top class */
  const char* preprocess; /* preset or JSON file; default: the model's .preprocess.json beside it, otherwise "imagenet" */
  const char* labels;     /* text file, a class name a line; default: the model's .labels.txt beside it, otherwise none */
  const char* resize;     /* "short-side", "stretch", "none"; default: as the preprocessing says */
  double resize_ratio;    /* short side over the model's size, 1..4; 0: as the preprocessing says */
  int64_t steps;          /* 0: the recipe's; refused for methods that have none */
  uint64_t seed;
  int robust;          /* operating point: 0 sufficient (default), 1 robust */
  double tau;          /* p(e) must be at least tau * p(x); default 0.5 */
  double rho;          /* robust: share of the random backgrounds that must keep the label; default 0.9 */
  int64_t backgrounds; /* K random backgrounds; default 32 */
  int64_t tile;        /* side of the tiles of the certificate of minimality, pixels; default 8 */
  int64_t instances;   /* at most so many disjoint explanations of one picture; default 1 */
  const char* method;  /* a name of actmatch_methods_json; default: the recipe's, otherwise "activation-matching" */
} actmatch_explain_options;

ACTMATCH_API void actmatch_explain_options_init(actmatch_explain_options* options);
/* Checks everything and compiles the model for the recipe; fails before any picture is touched. */
ACTMATCH_API actmatch_status actmatch_explainer_create(actmatch_model* model, const actmatch_explain_options* options,
                                                       actmatch_explainer** explainer);
ACTMATCH_API void actmatch_explainer_free(actmatch_explainer* explainer);
/* What was settled, as a JSON object: model, device, precision, method, recipe, generator (null: it has none), options (of other methods
 * than activation matching), steps (0: the method's own affair), operating_point, taps, width, height, classes, head, class_index (-1: the
 * top class), class_name, preprocess, and where preprocessing and labels came from: preprocess_from ("option", "default", "model" where it
 * normalises its input itself, or the path of the file found beside the model), labels_from ("option", "none", or a path). */
ACTMATCH_API actmatch_status actmatch_explainer_info(actmatch_explainer* explainer, const char** json);

typedef struct actmatch_progress {
  size_t struct_size;
  const char* phase;   /* "prepare", "optimise", "prune" */
  int64_t instance;    /* from 1 */
  int64_t step, steps; /* of the optimisation */
  double area;         /* share of the pixels in the current hard mask */
  double seconds, seconds_left;
  size_t terms; /* after a step: the loss terms in use, the weighted total last; otherwise 0 */
  const char* const* term_names;
  const float* term_values;
  size_t picture; /* in a run of many: its place among them, from 0 */
} actmatch_progress;
/* Called after each step, for each picture of a batch in turn, and between the batches of a check; what it points to is valid during the
 * call. Return 0 to go on; otherwise the run ends with ACTMATCH_CANCELLED. Must not throw. */
typedef int (*actmatch_progress_callback)(const actmatch_progress* progress, void* user);

ACTMATCH_API actmatch_status actmatch_explainer_run_file(actmatch_explainer* explainer, const char* image_path,
                                                         actmatch_progress_callback callback, void* user, actmatch_result** result);
/* `rgb`: height rows of width pixels of 3 bytes, without gaps. `name` stands for the picture in records. */
ACTMATCH_API actmatch_status actmatch_explainer_run_rgb(actmatch_explainer* explainer, const uint8_t* rgb, int width, int height,
                                                        const char* name, actmatch_progress_callback callback, void* user,
                                                        actmatch_result** result);

/* One of many pictures: a file, or pixels as for actmatch_explainer_run_rgb, which must stay there until the run ends. */
typedef struct actmatch_picture {
  size_t struct_size; /* the same in all of an array */
  const char* path;   /* NULL: the pixels */
  const uint8_t* rgb;
  int width, height;
  const char* name; /* of the pixels; default "picture" */
} actmatch_picture;

typedef struct actmatch_batch_options {
  size_t struct_size;
  int64_t batch; /* pictures at once, up to 4096; 0 (default): what keeps the device busy and fits its memory, on a CPU 1 */
} actmatch_batch_options;

ACTMATCH_API void actmatch_batch_options_init(actmatch_batch_options* options);

/* Receives what was found for each picture, in the order of the pictures. `result` belongs to the receiver, who frees it; it is NULL where
 * `status` tells that this picture failed, and `message` why (otherwise NULL). Comes on a thread other than the caller's, one call at a
 * time, while the device works on later pictures: this is the place to write results. Return 0 to go on; otherwise nothing more comes and
 * the run ends with ACTMATCH_CANCELLED. Must not throw, and must not use the explainer. */
typedef int (*actmatch_result_callback)(size_t index, actmatch_result* result, actmatch_status status, const char* message, void* user);

/* Explains many pictures, several at once where that suits the device. What is found for a picture does not depend on the others: on a CPU
 * it is the same bit for bit. Pictures are read ahead meanwhile; one that cannot be read fails by itself. Where memory runs out, fewer go
 * at once, which is said in a notice. Times in results are each picture's share of what its batch took. `callback` may be NULL; `user` goes
 * to both. Returns ACTMATCH_OK when every picture was handed on, failed ones included; otherwise what ended the run, and then whatever was
 * finished before has been handed on. */
ACTMATCH_API actmatch_status actmatch_explainer_run_batch(actmatch_explainer* explainer, const actmatch_picture* pictures, size_t count,
                                                          const actmatch_batch_options* options, actmatch_progress_callback callback,
                                                          actmatch_result_callback receive, void* user);

ACTMATCH_API void actmatch_result_free(actmatch_result* result);

/* What holds for the picture as a whole. */
typedef struct actmatch_summary {
  size_t struct_size;
  int width, height; /* of the masks: the model's input size */
  int32_t class_index;
  const char* class_name; /* "" without labels */
  double p_x;             /* probability of the class on the picture */
  int64_t instances;      /* explanations found, at least 1 */
  double seconds;         /* from the decoded picture to the last check; of a batch this picture's share */
} actmatch_summary;

/* One explanation. All claims were measured on the hard mask. */
typedef struct actmatch_explanation {
  size_t struct_size;
  const uint8_t* mask;         /* height * width, 0 or 1 */
  const float* soft;           /* height * width, 0..1: what the optimisation ended with */
  int feasible;                /* meets the operating point */
  int label_kept;              /* the label holds on the baseline background */
  double p_e;                  /* and this is its probability there */
  double area;                 /* share of the pixels */
  double background_stability; /* share of the random backgrounds that keep the label */
  int necessity;               /* without the mask's pixels the label is lost */
  double p_complement;         /* its probability then */
  int64_t minimal_tile;        /* no single tile of this side can be removed; 0: not certified */
  double pruned_from_area;
  double optimise_seconds; /* of a batch this picture's share */
  double prune_seconds;
  double fresh_stability; /* like background_stability, on as many backgrounds that no part of the search has seen */
} actmatch_explanation;

ACTMATCH_API actmatch_status actmatch_result_summary(const actmatch_result* result, actmatch_summary* summary);
/* `instance` counts from 0. */
ACTMATCH_API actmatch_status actmatch_result_explanation(const actmatch_result* result, int64_t instance,
                                                         actmatch_explanation* explanation);
/* The loss terms over the steps; `index` from 0. ACTMATCH_NOT_FOUND past the last one. */
ACTMATCH_API actmatch_status actmatch_result_losses(const actmatch_result* result, int64_t instance, size_t index, const char** term,
                                                    const float** values, size_t* count);
/* The record that is written as result.json. */
ACTMATCH_API actmatch_status actmatch_result_json(const actmatch_result* result, int64_t instance, const char** json);
/* Writes mask.png, explanation.png, overlay.png, soft_mask.npy and result.json into the folder (made if need be), and those of further
 * instances into instance_2, instance_3, ... inside it. A picture that came as a buffer is written too (image.png), so that verifying
 * works. Each file is written atomically, the record last. */
ACTMATCH_API actmatch_status actmatch_result_write(const actmatch_result* result, const char* folder);

/* A self-contained HTML page about many results. */
typedef struct actmatch_report actmatch_report;
ACTMATCH_API actmatch_status actmatch_report_create(const actmatch_explainer* explainer, actmatch_report** report);
ACTMATCH_API void actmatch_report_free(actmatch_report* report);
/* Draws the result into the page; the result may be freed afterwards. */
ACTMATCH_API actmatch_status actmatch_report_add(actmatch_report* report, const actmatch_result* result);
ACTMATCH_API actmatch_status actmatch_report_write(const actmatch_report* report, const char* path); /* atomically */

/* --- verifying ----------------------------------------------------------------------------------------------------------------------- */

typedef struct actmatch_verification actmatch_verification;

typedef struct actmatch_verify_options {
  size_t struct_size;
  const char* device; /* as for models */
  int threads;
  const char* model;     /* used in place of the recorded path */
  const char* image;     /* likewise */
  const char* precision; /* default: the recorded one where the device has it, otherwise fp32; what rounding makes of that is allowed for */
} actmatch_verify_options;

typedef struct actmatch_claim {
  size_t struct_size;
  const char* name;   /* "label_kept", "p_e", "minimal_tile", ... */
  const char* stated; /* what the record says */
  const char* found;  /* what was measured now */
  int ok;
} actmatch_claim;

ACTMATCH_API void actmatch_verify_options_init(actmatch_verify_options* options);
/* Measures every claim of a result.json again from the model, the picture and the mask.png beside it. Fails only when that cannot be
 * done; a refuted claim is a success with ok = 0. */
ACTMATCH_API actmatch_status actmatch_verify(const char* result_json_path, const actmatch_verify_options* options,
                                             actmatch_verification** verification);
ACTMATCH_API void actmatch_verification_free(actmatch_verification* verification);
ACTMATCH_API int actmatch_verification_passed(const actmatch_verification* verification);
ACTMATCH_API size_t actmatch_verification_count(const actmatch_verification* verification);
ACTMATCH_API actmatch_status actmatch_verification_claim(const actmatch_verification* verification, size_t index, actmatch_claim* claim);

/* --- an explainer for many pictures -------------------------------------------------------------------------------------------------- */

typedef struct actmatch_training_options {
  size_t struct_size;
  const char* images;        /* a folder of pictures, or a CSV table with the column image */
  const char* validation;    /* likewise; NULL (default): a share of the images, which is not trained on */
  double validation_share;   /* default 0.1; 0: none is kept apart */
  const char* out;           /* the ONNX file to write: picture [N, C, H, W] as the classifier takes it -> mask logits [N, 1, H, W] */
  const char* generator;     /* "csae" (default) or "unet" */
  int64_t epochs;            /* how often each picture is shown; default 20 */
  int64_t batch;             /* pictures in a step; default 8 */
  double learning_rate;      /* the highest; 0 (default): as suits the generator */
  double checkpoint_seconds; /* between checkpoints, OUT.checkpoint; default 60, 0: after every step */
  int resume;                /* go on from OUT.checkpoint; the outcome is, bit for bit, that of a training without the break */
  /* Preprocessing, recipe, seed, operating point. No method, generator, steps, class. NULL: the defaults. */
  const actmatch_explain_options* explain;
} actmatch_training_options;

typedef struct actmatch_training_progress {
  size_t struct_size;
  int validating;               /* between two epochs */
  int64_t epoch, epochs;        /* from 1 */
  int64_t step, steps;          /* done; of all epochs */
  double seconds, seconds_left; /* 0 left: not known yet */
  double pictures_per_second;
  double loss, kept;       /* means over the epoch so far; kept: share of the hard masks that keep the class */
  int64_t validated_epoch; /* of what follows; 0: none yet */
  double validation_loss, validation_kept;
  double validation_area;     /* mean share of the pixels in the smallest feasible level set */
  double validation_feasible; /* share of the pictures that have one */
} actmatch_training_progress;
/* Called after each step, and many times in a validation. Return 0 to go on; otherwise a checkpoint is written and the training ends with
 * ACTMATCH_CANCELLED. Must not throw. */
typedef int (*actmatch_training_callback)(const actmatch_training_progress* progress, void* user);

typedef struct actmatch_training_outcome {
  size_t struct_size;
  int64_t steps, pictures, validation_pictures;
  size_t unreadable; /* pictures that were left out; each was told to the model's notice callback */
  double seconds, loss;
  double validation_loss, validation_kept, validation_area, validation_feasible; /* of the last epoch; 0 without validation pictures */
} actmatch_training_outcome;

ACTMATCH_API void actmatch_training_options_init(actmatch_training_options* options);
/* Trains one generator over many pictures by activation matching and writes it as an ONNX file that names its model (metadata_props). Use
 * it as the generator of actmatch_explain_options, or with any ONNX runtime. `outcome` may be NULL. */
ACTMATCH_API actmatch_status actmatch_train(actmatch_model* model, const actmatch_training_options* options,
                                            actmatch_training_callback callback, void* user, actmatch_training_outcome* outcome);

/* --- evaluations of whole data sets ------------------------------------------------------------------------------------------------- */

typedef struct actmatch_evaluation_progress {
  size_t struct_size;
  size_t picture, pictures; /* of this part of the run; from 0 */
  const char* image;        /* as the table names it */
  const char* method;       /* NULL while a picture is being read */
  const char* variant;      /* recipe or changes of a sweep; "" for none */
  uint64_t seed;
  size_t done, to_do;           /* records made now, of those to be made now */
  double seconds, seconds_left; /* 0 left: not known yet */
} actmatch_evaluation_progress;
/* Called before each record and many times while one is made. Return 0 to go on; otherwise the run ends with ACTMATCH_CANCELLED, and the
 * same call goes on where it stopped. Must not throw. */
typedef int (*actmatch_evaluation_callback)(const actmatch_evaluation_progress* progress, void* user);

typedef struct actmatch_evaluation_options {
  size_t struct_size;
  const char*
      images;      /* a folder of pictures, or a CSV table with the columns image and, where wanted, class and boxes ("x0 y0 x1 y1; ...") */
  const char* out; /* the run's folder; one that holds an earlier run of the same settings is continued, nothing in it is made again */
  const char* methods; /* names of actmatch_methods_json with commas between, "NAME:RECIPE" for another recipe; "all" */
  const char* metrics; /* names of actmatch_metrics_json with commas between; "all" (default) */
  const char* shard;   /* "I/N": the I-th of N parts, from 1; "auto" (default): by Slurm's, Open MPI's or Kubernetes' variables; "auto/N" */
  const char* sweep;   /* JSON file with variants of a recipe and seeds; NULL (default): none */
  int retry;           /* make records of what failed or could not be read once more */
  /* Preprocessing, labels, operating point, seed, and activation matching's recipe. No method, no class. NULL: the defaults. */
  const actmatch_explain_options* explain;
} actmatch_evaluation_options;

typedef struct actmatch_evaluation_outcome {
  size_t struct_size;
  size_t done, found;        /* records made now; that were there before */
  size_t unreadable, failed; /* pictures; records without figures. Those of earlier runs count too */
} actmatch_evaluation_outcome;

ACTMATCH_API void actmatch_evaluation_options_init(actmatch_evaluation_options* options);
/* The metrics there are, as a JSON array of objects: name, source, options (their defaults), figures (name, unit, direction, about). */
ACTMATCH_API actmatch_status actmatch_metrics_json(const char** json);
/* Runs methods over pictures and measures what they give: OUT/run.json, OUT/results*.jsonl (a record a line, there as a whole or not at
 * all, whenever the program is killed), OUT/masks, OUT/pictures. `outcome` may be NULL. A picture that cannot be read, or a method that
 * fails on one, costs a record that says so. */
ACTMATCH_API actmatch_status actmatch_evaluate(actmatch_model* model, const actmatch_evaluation_options* options,
                                               actmatch_evaluation_callback callback, void* user, actmatch_evaluation_outcome* outcome);

typedef struct actmatch_comparison_options {
  size_t struct_size;
  const char* html;    /* NULL (default): no page; otherwise where the self-contained page goes */
  const char* csv;     /* likewise: all records, a row each */
  const char* parquet; /* the same as Apache Parquet; ACTMATCH_UNSUPPORTED where the build has no Apache Arrow */
  int64_t gallery;     /* pictures drawn on the page; default 12 */
} actmatch_comparison_options;

ACTMATCH_API void actmatch_comparison_options_init(actmatch_comparison_options* options);
/* Joins the folders of evaluations and sums them up; writes what the options ask for, each file atomically. The table as a JSON object:
 * pictures, records, unreadable, metrics (name, unit, direction: 1 more is better, -1 less, 0; about; options; best: of each row, within
 * its model and settings), rows (method, variant, setting: the model or settings that set it apart, label: all three, pictures, failed,
 * seconds, metrics: by name count, mean, median, low and high of the mean's 95 % interval). Lives until the thread's next call. */
ACTMATCH_API actmatch_status actmatch_compare(const char* const* folders, size_t count, const actmatch_comparison_options* options,
                                              const char** json);

#ifdef __cplusplus
}
#endif

#endif
