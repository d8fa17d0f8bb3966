/* The interface of the engine, and all structures and constants that its files share. gibbs.c
 * includes this file first, so the .inc files do not include it. */

#ifndef GIBBS_H
#define GIBBS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define PRAGMA(x) _Pragma(#x)
#ifdef __clang__
#define UNROLL(n) PRAGMA(unroll(n))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

typedef float four __attribute__((vector_size(16), may_alias, aligned(4)));
#ifdef __clang__
#define CHOOSE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHOOSE(a, b, ...) __builtin_shuffle(a, b, (int32_t __attribute__((vector_size(16)))){__VA_ARGS__})
#endif

enum {
    /* Increase it when the meaning of a function or a field changes. The binding finds a change of
     * the layout without it. */
    ABI_VERSION = 9,
    BLOCK = 32,              /* units in a word, one bit each */
    ROWS_UP_TO = 12,         /* up to this many chains, adding rows is faster than tables */
    LARGE_TABLES_FROM = 192, /* from this many chains on, larger tables are faster */
    TILE = 1024,             /* chains whose sums (128 bytes each) stay in the second-level cache */
    TABLE = 4096,            /* floats in the tables of a thread: 16 KB */
    SLICE = 64,              /* chains that a thread takes at once where threads share the chains */
    SPINS = 1000,            /* turns of a loop, some 10 microseconds, before a thread sleeps */
    AWAKE = 1000000,         /* nanoseconds awake after a call, before a thread sleeps */
    MAX_THREADS = 256,
    CHUNK = 64,     /* hidden units; their sums stay in registers while a gradient is summed */
    LIST = 512,     /* rows of a gradient that are searched for non-zero units at once */
    KEPT = 8,              /* blocks of memory that are kept for the next call */
    KEPT_FROM = 1 << 16,   /* bytes: smallest and ... */
    KEPT_TO = 1 << 24,     /* ... largest block that is kept */
    COLUMNS = 1024, /* columns of the weights that bound_of_block sums at once */
    PIECE = 16384,  /* numbers that a thread takes at once where threads share the numbers */
};

/* What the functions return. binding.py has the same numbers. */
enum { OK = 0, BAD_SIZE = -1, NO_MEMORY = -2, NOT_BINARY = -3, BAD_ARGUMENT = -4 };

/* The arguments of a call. `Gibbs` in binding.py has the same fields, in the same order; it checks
 * them against mxnet_rbm_gibbs_fields. A function's name before a colon means that this function
 * uses the field in this way. */
struct gibbs {
    int64_t chains, num_visible, num_hidden;
    int64_t sweeps;          /* run: in all; anneal: at each beta; learn: in each step */
    /* The noise depends on the number of a sweep. run, learn: the number of the sweep before the
     * first one; anneal: the number of the first one. */
    int64_t first_sweep;
    int64_t num_betas;       /* run: 1 for all chains, or one for each chain; anneal: steps + 1 */
    int64_t start_visible;   /* run: start from `visible`, else from `hidden` */
    int64_t clamp_per_chain; /* clamp, clamp_value are (chains, num_visible), else (num_visible,) */
    int64_t finish;          /* anneal: the last beta ends the schedule, so no sweep follows it */
    int64_t key_0, key_1;    /* 32 bits each */
    int64_t fixed_point; /* use weights of 16 bits if these are fine enough; not for anneal */
    int64_t num_threads;
    int64_t instruction_set; /* an index of `kernels`; below 0 for the best */
    /* Visible units are real numbers, normal given h. Then there are no groups and no fixed_point,
     * and learn refuses the call. */
    int64_t gaussian;
    int64_t num_groups;
    /* (num_groups, 2): softmax groups (start, stop) of visible units, in order and apart. Exactly
     * one of the units start, ..., stop - 1 is on. */
    const int64_t *groups;
    const float *weight;             /* interaction weights W, (num_visible, num_hidden) */
    const float *visible_bias, *hidden_bias;
    const float *base;    /* the visible bias at beta = 0, or NULL for zeros */
    const double *beta;   /* (num_betas,) */
    const uint8_t *clamp; /* not 0 where a visible unit is held; or NULL */
    const float *clamp_value;
    /* run, Gaussian units: v <- mean + retain (v - mean) + spread n, with standard normal n.
     * retain = 0 and spread = 1 draw v anew. */
    double retain, spread;
    float *visible, *hidden; /* run, learn: in and out; anneal: visible in and out; else in */
    /* out, or NULL; gradient: hidden_probability is in, p(h = 1 | chains) */
    float *visible_probability, *hidden_probability;
    float *hidden_input; /* mean: out, b + v W, or NULL */
    /* out, or NULL: the scale of weights of 16 bits (learn: in the last step). 0 or less: weights
     * were float32. */
    double *scale;
    /* (chains,), in nats. anneal: the log-weights of the chains grow in place. mean: out, the free
     * energies, or NULL. */
    double *log_weight;
};

/* The arguments of gradient, descend and learn besides struct gibbs. `Learning` in binding.py has
 * the same fields. */
struct learning {
    int64_t rows;        /* gradient: rows of the data; learn: rows of each batch but the last */
    int64_t num_rows;    /* learn: rows of all batches */
    /* learn: chain c starts each step at row c of the batch, modulo the batch; else it goes on. */
    int64_t from_data;
    const int64_t *keys; /* learn: (steps, 2), a key for each step; or NULL: one key for all */
    /* gradient: a sum of flags. The gradient of the weights (1), of the visible biases (2) or of
     * the hidden biases (4) is added to the numbers in its array, which it otherwise replaces. */
    int64_t add;
    double factor;  /* of the gradient: factor x (mean over chains - mean over data) */
    double rescale; /* learn, descend: a step multiplies the gradient by it */
    double sparsity_target, sparsity_cost, weight_decay_l1;
    double rate, momentum, weight_decay;
    const float *data;        /* gradient: (rows, num_visible); learn: (num_rows, num_visible) */
    const float *data_hidden; /* gradient: p(h = 1 | data), (rows, num_hidden) */
    const float *visible_offset, *hidden_offset; /* of centering, or NULL */
    float *weight_gradient; /* gradient: out; descend: in; learn: NULL, rows are used at once */
    float *visible_gradient, *hidden_gradient; /* out; gradient: or NULL */
    float *weight, *visible_bias, *hidden_bias; /* learn: those of struct gibbs, which change */
    float *weight_velocity, *visible_velocity, *hidden_velocity; /* or NULL without momentum */
};

/* The arguments of class_sums and class_means. Given a class, the hidden units have the inputs
 * o = input + label_weight. `Classes` in binding.py has the same fields. */
struct classes {
    int64_t rows, num_classes, num_hidden;
    const float *input;        /* (rows, num_hidden) */
    const float *label_weight; /* (num_classes, num_hidden); with `first`, more rows */
    /* (rows,), or NULL: row r has the num_classes classes from first[r] on. For class_means rows
     * with the same first class lie together, and different ranges do not overlap. */
    const int64_t *first;
    double *score;             /* sums: out, sum of softplus(o) over units, (rows, num_classes) */
    const float *slope;        /* means: (rows, num_classes) */
    float *hidden; /* means: out, (rows, num_hidden): sum of slope x sigmoid(o) over classes */
    /* means: out, the same summed over rows instead, in the shape of label_weight. With `first`,
     * classes that no row has are not written. */
    float *label_hidden;
};

/* A field of a structure. `type` is a name such as "int64" or "const float32 *". */
struct gibbs_field {
    const char *name, *type;
    int64_t offset, size; /* bytes */
};

int64_t mxnet_rbm_gibbs_abi(void);
const struct gibbs_field *mxnet_rbm_gibbs_fields(void); /* a field without a name ends the list */
const struct gibbs_field *mxnet_rbm_learning_fields(void);
const struct gibbs_field *mxnet_rbm_classes_fields(void);
int64_t mxnet_rbm_gibbs_has(int64_t instruction_set);
int64_t mxnet_rbm_gibbs_noise(int64_t instruction_set, const uint32_t *key, uint32_t block, uint32_t chain,
                              uint32_t sweep, uint32_t stream, int32_t *words);
int64_t mxnet_rbm_gibbs_run(const struct gibbs *g);
int64_t mxnet_rbm_gibbs_anneal(const struct gibbs *g);
int64_t mxnet_rbm_gibbs_mean(const struct gibbs *g);
int64_t mxnet_rbm_gibbs_gradient(const struct gibbs *g, const struct learning *l);
int64_t mxnet_rbm_gibbs_descend(const struct gibbs *g, const struct learning *l);
int64_t mxnet_rbm_gibbs_learn(const struct gibbs *g, const struct learning *l);
int64_t mxnet_rbm_gibbs_class_sums(const struct gibbs *g, const struct classes *y);
int64_t mxnet_rbm_gibbs_class_means(const struct gibbs *g, const struct classes *y);
void *PyInit__mxnet_rbm_native(void);

/* The threads that work on one call. */
struct team {
    int threads;
    atomic_int_least64_t claimed; /* chunks of the present task that threads have taken */
    atomic_int arrived;           /* threads at the barrier */
    atomic_uint generation;       /* how often the barrier has opened */
    pthread_mutex_t mutex;        /* for `opened` */
    pthread_cond_t opened;
};

struct layer {
    int64_t units, num_words;
    uint32_t stream;      /* visible 0, hidden 1: the layers have different noise */
    float *bias, *base;   /* p(unit is on) = sigmoid(base + beta (bias + its weighted sum)) */
    /* The interaction weights, (num_words, 32 x num_words of the other layer, 32): float32, or
     * integers of 16 bits in the first half of the memory. */
    float *panels;
    uint32_t *words;      /* (num_words, chains): the states of binary units */
    float *state;         /* (chains, units): the states of Gaussian units; NULL if binary */
    uint32_t *keep, *set; /* state = drawn & keep | set, (num_words,) or (num_words, chains) */
    int held_per_chain;   /* keep and set are (num_words, chains) */
    int64_t num_groups;      /* softmax groups */
    const int64_t *groups;
    uint32_t *grouped;       /* (num_words,): bits of the units that are in a group */
    int64_t *group_units;    /* (num_words,): number of units in groups in all words before */
    int64_t stride;          /* of group_input: the chains, rounded up to a multiple of SLICE */
    float *group_input;      /* (units in groups, stride): inputs of the softmax */
};

/* The draw of layer `to` given layer `from`, or only its probabilities, inputs or log-weights. */
struct draw {
    struct team *team;
    const struct layer *from, *to;
    const uint32_t *key;
    int64_t chains;
    uint32_t sweep;
    const float *beta; /* one for all chains, or (chains,) */
    int beta_per_chain;
    int sample;              /* whether units are drawn */
    float scale;             /* of weights of 16 bits; 0 or less: weights are float32 */
    float retain, spread;    /* of Gaussian units */
    const float *grey_state; /* (grey_rows, units) if `from` is not binary, else NULL */
    int64_t grey_rows;       /* chain c has row c modulo grey_rows */
    float *probability;      /* out, (chains, units), or NULL; means of Gaussian units */
    float *input;            /* out, (chains, units), or NULL: bias + weighted sum */
    /* out, (num_words, chains), or NULL: what each block of units adds to the log-weights on the
     * way from log_weight_beta to log_weight_beta + log_weight_step */
    double *log_weight;
    float log_weight_beta, log_weight_step;
};

/* A gradient. Its rows are those of the chains, followed by those of the data. */
struct gradient {
    const struct learning *l;
    /* `padded` is num_hidden, rounded up to whole chunks. */
    int64_t chains, rows, num_visible, num_hidden, padded;
    double chain_factor, data_factor; /* of each row: factor / chains, -factor / rows of the data */
    const float *chain_visible, *chain_hidden, *data, *data_hidden, *weight;
    float *scaled;       /* (padded / CHUNK, rows, CHUNK): hidden probabilities x row's factor */
    double *hidden_sum;  /* (padded,): sums of `scaled` over the rows */
    /* (blocks of visible units, padded), or NULL: with centering, each block's part of
     * sum_i visible_offset_i gradient_ij, which is taken from the gradient of the hidden biases */
    double *column_sums;
};

/* Largest scale of weights of 16 bits. With it the inputs of units are off by a few hundredths. */
#define COARSEST 0.01f

struct block {
    void *memory;
    int64_t bytes;
};

/* The memory of a thread. */
struct scratch {
    float bound;         /* largest result of bound_of_block in this thread */
    float *sums, *table;
    float *gradient; /* (BLOCK, padded) */
    int32_t *list;   /* (BLOCK, LIST): rows in which a unit is not 0 */
    float *values;   /* (BLOCK, LIST): the values of the unit in these rows */
};

/* The memory of a call. Each array is an allocation of its own, so that a sanitizer sees where it
 * ends. */
struct work {
    const struct gibbs *g;
    void (*body)(struct work *, struct scratch *); /* what every thread runs */
    struct team team;
    atomic_int started; /* number of threads that have started the body */
    struct layer visible, hidden;
    uint32_t key[2];
    int64_t instruction_set;
    float *beta;               /* run: the betas as float */
    double *hidden_log_weight; /* anneal, mean: (num_words, chains), a sum for each hidden block */
    double *visible_steps;     /* anneal: (8 x num_words, 16), see tabulate_visible_steps */
    struct scratch scratch[MAX_THREADS];
    const struct learning *learning;
    const struct classes *classes;
    struct gradient *gradient;
    struct layer data;          /* learn: the visible layer with the states of the data */
    float *data_hidden;         /* learn: p(h = 1 | data) */
    atomic_int data_is_grey[2]; /* learn: like start_is_grey, for steps of even and odd numbers */
    atomic_int start_is_grey;   /* some value of the start is neither 0 nor 1 */
    struct block allocations[32 + 5 * MAX_THREADS];
    int num_allocations;
};

#endif
