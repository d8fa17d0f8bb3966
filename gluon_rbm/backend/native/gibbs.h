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

enum {
    ABI_VERSION = 3,         /* changes with the meaning of a function or of a field; a change of layout shows itself */
    BLOCK = 32,              /* units of a word */
    ROWS_UP_TO = 12,         /* up to so many chains, adding rows beats tables */
    LARGE_TABLES_FROM = 192, /* from so many chains on, larger tables pay */
    TILE = 1024,             /* chains whose sums (128 bytes each) stay in the second-level cache */
    TABLE = 4096,            /* floats */
    SLICE = 64,              /* chains that a thread takes at once where it goes by chains */
    SPINS = 1000,            /* some ten microseconds */
    MAX_THREADS = 256,
};

enum { OK = 0, BAD_SIZE = -1, NO_MEMORY = -2, NOT_BINARY = -3, BAD_ARGUMENT = -4 };

/* All that a call needs. `_Gibbs` in __init__.py has the same fields; mxnet_rbm_gibbs_fields lets it check that. */
struct gibbs {
    int64_t chains, num_visible, num_hidden;
    int64_t sweeps;          /* anneal: at each beta */
    int64_t first_sweep;     /* number of the first sweep, which its noise is drawn with */
    int64_t num_betas;       /* run: 1, or `chains` for one each; anneal: steps + 1 */
    int64_t start_visible;   /* run: start from `visible`, else from `hidden` */
    int64_t clamp_per_chain; /* clamp and clamp_value are (chains, num_visible), else (num_visible,) */
    int64_t finish;          /* anneal: the last beta ends the schedule, so no sweep follows */
    int64_t key_0, key_1;    /* 32 bits each */
    int64_t num_threads;
    int64_t instruction_set;
    int64_t group_start, group_stop; /* of these visible units exactly one is on; equal where there is no such group */
    const float *weight;             /* of the interactions, (num_visible, num_hidden) */
    const float *visible_bias, *hidden_bias;
    const float *base;    /* the visible bias at beta = 0, or NULL for zeros */
    const double *beta;   /* (num_betas,) */
    const uint8_t *clamp; /* or NULL */
    const float *clamp_value;
    float *visible, *hidden;                         /* in and out; anneal: no hidden */
    float *visible_probability, *hidden_probability; /* or NULL */
    double *log_weight; /* anneal: the logs of the chains' importance weights, (chains,), which are added to */
};

/* A field of struct gibbs; "const float32 *" and the like are the types' names. */
struct gibbs_field {
    const char *name, *type;
    int64_t offset, size; /* bytes */
};

int64_t mxnet_rbm_gibbs_abi(void);
const struct gibbs_field *mxnet_rbm_gibbs_fields(void); /* up to one without a name */
int64_t mxnet_rbm_gibbs_has(int64_t instruction_set);
int64_t mxnet_rbm_gibbs_noise(int64_t instruction_set, const uint32_t *key, uint32_t block, uint32_t chain,
                              uint32_t sweep, uint32_t stream, int32_t *words);
int64_t mxnet_rbm_gibbs_run(const struct gibbs *g);
int64_t mxnet_rbm_gibbs_anneal(const struct gibbs *g);
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
    float *panels;        /* the interaction weights, (num_words, 32 x the other layer's num_words, 32) */
    uint32_t *words;      /* (num_words, chains): the state */
    uint32_t *keep, *set; /* state = drawn & keep | set, a word for all chains or (num_words, chains) */
    int held_per_chain;
    int64_t group_start, group_stop; /* the softmax group */
    float *group_input;              /* (chains, units of the group): what its softmax is taken of */
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
    const float *grey_state; /* (chains, units) if `from` is not binary, else NULL */
    float *probability;      /* (chains, units), or NULL */
    double *log_weight;      /* (num_words, chains), or NULL: what each block adds to the log-weights ... */
    float log_weight_beta, log_weight_step; /* ... from this beta to beta + step */
};

/* A call's memory. Every array is its own, so that a sanitizer sees where it ends. */
struct work {
    const struct gibbs *g;
    void (*body)(struct work *, float *sums, float *table); /* what every thread runs */
    struct team team;
    atomic_int started; /* threads */
    struct layer visible, hidden;
    uint32_t key[2];
    int64_t instruction_set;
    float *beta;               /* as float, for run */
    double *hidden_log_weight; /* (num_words, chains), for anneal: of each block of hidden units */
    double *visible_steps;     /* for anneal: sums of a - base over the units of each value of each 4 bits of a state */
    float *sums[MAX_THREADS], *tables[MAX_THREADS];
    atomic_int start_is_grey; /* some value is neither 0 nor 1 */
    void *allocations[24 + 2 * MAX_THREADS];
    int num_allocations;
};

#endif
