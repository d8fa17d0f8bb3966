/* The engine's interface, and every structure and constant that its files share. Only gibbs.c includes this file. */

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
    /* Changes with the meaning of a function or of a field. A change of layout is noticed without
     * it. */
    ABI_VERSION = 9,
    BLOCK = 32,              /* units of a word */
    ROWS_UP_TO = 12,         /* up to this many chains, adding rows is faster than tables */
    LARGE_TABLES_FROM = 192, /* from this many chains on, larger tables are faster */
    TILE = 1024,             /* chains whose sums (128 bytes each) stay in the second-level cache */
    TABLE = 4096,            /* floats */
    SLICE = 64,              /* chains that a thread takes at once where threads share the chains */
    SPINS = 1000,            /* some ten microseconds */
    AWAKE = 1000000,         /* nanoseconds */
    MAX_THREADS = 256,
    CHUNK = 64,     /* hidden units whose sums stay in registers while a gradient is summed */
    LIST = 512,     /* rows of a gradient whose units that are on are listed at once */
    KEPT = 8,              /* blocks of memory that are kept for the next call */
    KEPT_FROM = 1 << 16,   /* bytes of a block that is kept: from, to */
    KEPT_TO = 1 << 24,
    COLUMNS = 1024, /* of weights that are bounded at once */
    PIECE = 16384,  /* numbers that a thread takes at once where threads share the numbers */
};

enum { OK = 0, BAD_SIZE = -1, NO_MEMORY = -2, NOT_BINARY = -3, BAD_ARGUMENT = -4 };

/* All that a call needs. `Gibbs` in binding.py has the same fields, which it checks by means of
 * mxnet_rbm_gibbs_fields. */
struct gibbs {
    int64_t chains, num_visible, num_hidden;
    int64_t sweeps;          /* anneal: at each beta */
    int64_t first_sweep;     /* number of the first sweep, which its noise is drawn with */
    int64_t num_betas;       /* run: 1, or `chains`: one for each; anneal: steps + 1 */
    int64_t start_visible;   /* run: start from `visible`, else from `hidden` */
    int64_t clamp_per_chain; /* clamp and clamp_value are (chains, num_visible), else (num_visible,) */
    int64_t finish;          /* anneal: the last beta ends the schedule, so no sweep follows */
    int64_t key_0, key_1;    /* 32 bits each */
    int64_t fixed_point; /* weights of 16 bits, where these are fine enough; not for anneal */
    int64_t num_threads;
    int64_t instruction_set;
    int64_t gaussian; /* visible units are floats, normal given h; then no groups, no fixed_point, not for learn */
    int64_t num_groups;
    const int64_t *groups; /* (num_groups, 2): softmax groups of visible units start..stop - 1, in order: one unit is on */
    const float *weight;             /* of the interactions, (num_visible, num_hidden) */
    const float *visible_bias, *hidden_bias;
    const float *base;    /* the visible bias at beta = 0, or NULL for zeros */
    const double *beta;   /* (num_betas,) */
    const uint8_t *clamp; /* or NULL */
    const float *clamp_value;
    double retain, spread; /* run, Gaussian units: v <- mean + retain (v - mean) + spread n; 0 and 1 for a draw of its own */
    float *visible, *hidden;                         /* in and out; anneal: no hidden */
    float *visible_probability, *hidden_probability; /* or NULL */
    float *hidden_input; /* mean: out, b + v W, or NULL */
    double *scale;      /* out, or NULL: of weights of 16 bits (learn: in the last step); not above 0 for float32 */
    double *log_weight; /* anneal: the logs of the chains' importance weights, (chains,), which are added to */
};

/* What learning needs besides. `Learning` in binding.py has the same fields. */
struct learning {
    int64_t rows;          /* of the data; learn: of each batch but the last */
    int64_t num_rows;      /* learn: of all batches */
    int64_t from_data;     /* learn: chain c starts each step at row c of its batch, modulo the batch, else it goes on */
    const int64_t *keys;   /* learn: (steps, 2), of each step its own; or NULL for one key of all */
    int64_t add; /* gradient: 1: the weights' is added to what is there; 2: the visible biases'; 4: the hidden's */
    double factor;  /* of the gradient */
    double rescale; /* what a step multiplies a gradient with */
    double sparsity_target, sparsity_cost, weight_decay_l1;
    double rate, momentum, weight_decay;
    const float *data;        /* (rows, num_visible) */
    const float *data_hidden; /* gradient: p(h = 1 | data) */
    const float *visible_offset, *hidden_offset; /* of centering, or NULL */
    float *weight_gradient; /* learn: NULL */
    float *visible_gradient, *hidden_gradient; /* gradient: or NULL */
    float *weight, *visible_bias, *hidden_bias;                  /* learn: of struct gibbs, to be changed */
    float *weight_velocity, *visible_velocity, *hidden_velocity; /* learn: or NULL where there is no momentum */
};

/* Sums over rows and classes. Given a class, the hidden units have the inputs o = input +
 * label_weight. `Classes` in binding.py has the same fields. */
struct classes {
    int64_t rows, num_classes, num_hidden;
    const float *input;        /* (rows, num_hidden) */
    const float *label_weight; /* (num_classes, num_hidden), or more rows where there is `first` */
    const int64_t *first;      /* (rows,), or NULL: of each row the first of its num_classes rows of label_weight */
    double *score;             /* sums: out, of softplus(o) over hidden units, (rows, num_classes) */
    const float *slope;        /* means: (rows, num_classes) */
    float *hidden;             /* means: out, slope times sigmoid(o), summed over classes, (rows, num_hidden) */
    float *label_hidden;       /* means: out, the same summed over rows instead, in the shape of label_weight; with
                                  `first` no row of it is written that no row has, and rows of one first are together */
};

/* A field of a structure; "const float32 *" and the like are the types' names. */
struct gibbs_field {
    const char *name, *type;
    int64_t offset, size; /* bytes */
};

int64_t mxnet_rbm_gibbs_abi(void);
const struct gibbs_field *mxnet_rbm_gibbs_fields(void); /* up to one without a name */
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

/* Threads that work on one call. */
struct team {
    int threads;
    atomic_int_least64_t claimed; /* chunks of the present task */
    atomic_int arrived;           /* at the barrier */
    atomic_uint generation;       /* how often the barrier has opened */
    pthread_mutex_t mutex;        /* for `opened`, and for the start */
    pthread_cond_t opened;
};

struct layer {
    int64_t units, num_words;
    uint32_t stream;      /* tells the layers' noise apart */
    float *bias, *base;   /* a unit is on with probability sigmoid(base + beta (bias + its weighted sum)) */
    float *panels;        /* the interaction weights, (num_words, 32 x the other layer's num_words, 32); or 16-bit ones */
    uint32_t *words;      /* (num_words, chains): the state */
    float *state;         /* of Gaussian units instead, (chains, units); else NULL */
    uint32_t *keep, *set; /* state = drawn & keep | set, a word for all chains or (num_words, chains) */
    int held_per_chain;
    int64_t num_groups;      /* of softmax */
    const int64_t *groups;
    uint32_t *grouped;       /* (num_words,): the units that are in a group */
    int64_t *group_units;    /* (num_words,): how many there are in the words before */
    int64_t stride;          /* of the array below: the chains, and some more up to a whole vector */
    float *group_input;      /* (units in groups, stride): what softmax is taken of */
};

/* The draw of one layer given the other. */
struct draw {
    struct team *team;
    const struct layer *from, *to;
    const uint32_t *key;
    int64_t chains;
    uint32_t sweep;
    const float *beta; /* one for all chains or one each */
    int beta_per_chain;
    int sample;
    float scale; /* of weights of 16 bits; not above 0 for float32 */
    float retain, spread;    /* of Gaussian units */
    const float *grey_state; /* (grey_rows, units) if `from` is not binary, else NULL */
    int64_t grey_rows;       /* chain c is at row c modulo this */
    float *probability;      /* (chains, units), or NULL */
    float *input;            /* (chains, units), or NULL: bias and weighted sum */
    double *log_weight;      /* (num_words, chains), or NULL: what each block adds to the log-weights ... */
    float log_weight_beta, log_weight_step; /* ... from this beta to beta + step */
};

/* What a gradient is made of; its rows are those of the chains, and then those of the data. */
struct gradient {
    const struct learning *l;
    int64_t chains, rows, num_visible, num_hidden, padded; /* the hidden units of whole chunks */
    double chain_factor, data_factor;
    const float *chain_visible, *chain_hidden, *data, *data_hidden, *weight;
    float *scaled;       /* (padded / CHUNK, rows, CHUNK): hidden probabilities times their row's factor */
    double *hidden_sum;  /* (padded,) of the scaled ones */
    double *column_sums; /* (blocks of visible units, padded), or NULL: what centering takes of the hidden biases' */
};

#define COARSEST 0.01f /* largest scale of weights of 16 bits: inputs are off by a few hundredths */

struct block {
    void *memory;
    int64_t bytes;
};

/* The memory of a thread. */
struct scratch {
    float bound;
    float *sums, *table;
    float *gradient; /* (BLOCK, padded) */
    int32_t *list;   /* (BLOCK, LIST): rows in which a unit is on */
    float *values;   /* and its values there */
};

/* A call's memory. Every array is its own, so that a sanitizer sees where it ends. */
struct work {
    const struct gibbs *g;
    void (*body)(struct work *, struct scratch *); /* what every thread runs */
    struct team team;
    atomic_int started; /* threads */
    struct layer visible, hidden;
    uint32_t key[2];
    int64_t instruction_set;
    float *beta;               /* as float, for run */
    double *hidden_log_weight; /* (num_words, chains), for anneal: of each block of hidden units */
    double *visible_steps;     /* for anneal: sums of a - base over the units of each value of each 4 bits of a state */
    struct scratch scratch[MAX_THREADS];
    const struct learning *learning;
    const struct classes *classes;
    struct gradient *gradient;
    struct layer data;          /* learn: the visible layer, at the data */
    float *data_hidden;         /* learn: p(h = 1 | data) */
    atomic_int data_is_grey[2]; /* learn: in steps of even and of odd numbers */
    atomic_int start_is_grey; /* some value is neither 0 nor 1 */
    struct block allocations[32 + 5 * MAX_THREADS];
    int num_allocations;
};

#endif
