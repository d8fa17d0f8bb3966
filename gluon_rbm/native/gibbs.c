/* Block Gibbs sampling of the binary RBM on a CPU; __init__.py is its interface, gibbs_kernel.h its heart.
 *
 * - States are bits, 32 units a word, word-major: words[w * chains + chain].
 * - Weights are copied once a call into panels: the weights of 32 units (a block) to all units of the other layer lie
 *   together, and what is missing to a multiple of 32 is zero. So the kernel reads memory from front to back, and knows
 *   no edges.
 * - Threads share the blocks of a layer, and meet after each layer. Neither the order of a sum nor the noise depends on
 *   which thread works, so results do not depend on the number of threads.
 * - They are plain threads, started by each call, and wait by spinning for some microseconds only, then asleep. (OpenMP
 *   would take fewer lines, but GNU's spins for milliseconds: where anything else wants a processor, a call took ten
 *   times as long with two threads as with one. Its threads also spin on after a call, in the way of whatever comes
 *   next, and hang in a forked child.)
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__ || defined __i386__
#include <immintrin.h>
#define PAUSE() _mm_pause()
#else
#define PAUSE() ((void)0)
#endif

#define INLINE static inline __attribute__((always_inline))
#define TO_TEXT(x) #x
#define PRAGMA(x) _Pragma(TO_TEXT(x))
#define UNROLL(n) PRAGMA(GCC unroll n)

enum {
    ABI_VERSION = 1, /* changes with any change of struct gibbs or of a function's meaning */
    BLOCK = 32,      /* units of a word */
    FEW = 12,        /* up to so many chains, adding rows beats tables */
    MANY = 192,      /* from so many chains on, larger tables pay */
    TILE = 1024,     /* chains whose sums (128 bytes each) stay in the second-level cache */
    TABLE = 4096,    /* floats */
    SLICE = 64,      /* chains that a thread takes at once where it goes by chains */
    SPINS = 1000,    /* some ten microseconds */
    MAX_THREADS = 256,
};

enum { OK = 0, BAD_SIZE = -1, NO_MEMORY = -2, NOT_BINARY = -3, BAD_ARGUMENT = -4 };

/* All that a call needs; the same fields stand in __init__.py. */
struct gibbs {
    int64_t chains, num_visible, num_hidden;
    int64_t sweeps;          /* anneal: at each beta */
    int64_t first_sweep;     /* number of the first sweep, which its noise is drawn with */
    int64_t num_betas;       /* run: 1, or `chains` for one each; anneal: steps + 1 */
    int64_t start_visible;   /* run: start from `visible`, else from `hidden` */
    int64_t clamp_per_chain; /* clamp and clamp_value are (chains, num_visible), else (num_visible,) */
    int64_t finish;          /* anneal: the last beta is the end of the ladder, so no sweep follows */
    int64_t key[2];
    int64_t num_threads;
    int64_t instruction_set;
    const float *weight, *visible_bias, *hidden_bias, *base; /* base: or NULL */
    const double *beta;
    const uint8_t *clamp; /* or NULL */
    const float *clamp_value;
    float *visible, *hidden;                         /* in and out; anneal: no hidden */
    float *visible_probability, *hidden_probability; /* or NULL */
    double *log_weight;                              /* anneal: added to */
};

/* Threads that work on one call. */
struct team {
    int threads;
    atomic_int_least64_t claimed; /* parts of the present task */
    atomic_int arrived;
    atomic_uint meetings;
    pthread_mutex_t mutex; /* for `met`, and for the start */
    pthread_cond_t met;
};

/* The next part of a task: for (int64_t part; (part = claim(team)) < parts;) ...; meet(team); */
static int64_t claim(struct team *team) { return atomic_fetch_add_explicit(&team->claimed, 1, memory_order_relaxed); }

/* Returns when all threads have come: what they wrote before is seen after. */
static void meet(struct team *team)
{
    const unsigned meetings = atomic_load(&team->meetings);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->claimed, 0);
        pthread_mutex_lock(&team->mutex);
        atomic_store(&team->meetings, meetings + 1);
        pthread_cond_broadcast(&team->met);
        pthread_mutex_unlock(&team->mutex);
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&team->meetings, memory_order_acquire) != meetings)
            return;
        PAUSE();
    }
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->meetings) == meetings)
        pthread_cond_wait(&team->met, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

struct layer {
    int64_t units, num_words;
    uint32_t stream;    /* tells the layers' noise apart */
    float *bias, *base; /* a unit is on with probability sigmoid(base + beta (bias + its weighted sum)) */
    float *panels;      /* (num_words, 32 x the other layer's num_words, 32) */
    uint32_t *words;    /* (num_words, chains): the state */
    uint32_t *keep, *set; /* state = drawn & keep | set, a word for all chains or (num_words, chains) */
    int held_per_chain;
};

struct draw {
    struct team *team;
    const struct layer *from, *to;
    const uint32_t *key;
    int64_t chains;
    uint32_t sweep;
    const float *beta; /* one for all chains or one each */
    int beta_per_chain;
    int sample;
    const float *grey;   /* (chains, units) if `from` is not binary, else NULL */
    float *probability;  /* (chains, units), or NULL */
    double *weight;      /* (num_words, chains), or NULL: log weights of a step of annealing */
    float weight_beta, weight_step;
};

static int64_t units_of_word(const struct layer *layer, int64_t w)
{
    return layer->units - w * BLOCK < BLOCK ? layer->units - w * BLOCK : BLOCK;
}

/* The plain kernel: what every x86-64 has, or whatever the compiler makes of vectors of 16 bytes. */
#define NAME(x) x##_plain
#define BYTES 16
#ifdef __SSE2__
#define MIN(a, b) ((vfloat)_mm_min_ps((__m128)(a), (__m128)(b)))
#define MAX(a, b) ((vfloat)_mm_max_ps((__m128)(a), (__m128)(b)))
#define MASK(a) _mm_movemask_ps((__m128)(a))
#define MULTIPLY(a, b) ((vlong)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define MIN(a, b) min_plain(a, b)
#define MAX(a, b) max_plain(a, b)
#define MASK(a) mask_plain(a)
#define MULTIPLY(a, b) (((a) & 0xffffffffu) * ((b) & 0xffffffffu))
typedef float four __attribute__((vector_size(16), may_alias));
typedef int32_t four_masks __attribute__((vector_size(16), may_alias));
INLINE four choose_plain(four_masks mask, four a, four b)
{
    return (four)((mask & (four_masks)a) | (~mask & (four_masks)b));
}
INLINE four min_plain(four a, four b) { return choose_plain(a < b, a, b); }
INLINE four max_plain(four a, four b) { return choose_plain(a > b, a, b); }
INLINE int mask_plain(four_masks a) { return (a[0] & 1) | (a[1] & 2) | (a[2] & 4) | (a[3] & 8); }
#endif
#include "gibbs_kernel.h"

#if defined __x86_64__ && defined __GNUC__ && !defined __clang__
#define HAVE_AVX 1

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAME(x) x##_avx2
#define BYTES 32
#define MIN(a, b) ((vfloat)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define MAX(a, b) ((vfloat)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MASK(a) _mm256_movemask_ps((__m256)(a))
#define MULTIPLY(a, b) ((vlong)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#include "gibbs_kernel.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")
#define NAME(x) x##_avx512
#define BYTES 64
#define MIN(a, b) ((vfloat)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define MAX(a, b) ((vfloat)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MASK(a) _mm512_movepi32_mask((__m512i)(a))
#define MULTIPLY(a, b) ((vlong)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#include "gibbs_kernel.h"
#pragma GCC pop_options
#endif

enum { PLAIN, AVX2, AVX512, INSTRUCTION_SETS };

static const struct {
    void (*half_sweep)(const struct draw *, float *sums, float *table);
    void (*noise_of_block)(const uint32_t *, uint32_t, uint32_t, uint32_t, uint32_t, int32_t *);
} kernels[INSTRUCTION_SETS] = {
    {half_sweep_plain, noise_of_block_plain},
#ifdef HAVE_AVX
    {half_sweep_avx2, noise_of_block_avx2},
    {half_sweep_avx512, noise_of_block_avx512},
#endif
};

static int has(int64_t instruction_set)
{
#ifdef HAVE_AVX
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (instruction_set == AVX2)
        return avx2;
    if (instruction_set == AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
    return instruction_set == PLAIN;
}

static int64_t best_instruction_set(void) { return has(AVX512) ? AVX512 : has(AVX2) ? AVX2 : PLAIN; }

/* A call's memory. Every array is its own, so that a sanitizer sees where it ends. */
struct work {
    const struct gibbs *g;
    void (*body)(struct work *, float *sums, float *table); /* what every thread runs */
    struct team team;
    atomic_int started; /* threads */
    struct layer visible, hidden;
    uint32_t key[2];
    int64_t instruction_set;
    float *beta;              /* as float, for run */
    double *weights;          /* hidden (num_words, chains), for anneal */
    double *visible_steps;    /* for anneal: sums of a - base over the units of each value of each 4 bits of a state */
    float *sums[MAX_THREADS], *tables[MAX_THREADS];
    atomic_int grey; /* the start */
    void *blocks[24 + 2 * MAX_THREADS];
    int num_blocks;
};

static void *take(struct work *work, int64_t count, int64_t size)
{
    int64_t bytes = (count * size / 64 + 1) * 64;
    void *block = aligned_alloc(64, (size_t)bytes);
    work->blocks[work->num_blocks++] = block;
    return block;
}

static void give_back(struct work *work)
{
    while (work->num_blocks)
        free(work->blocks[--work->num_blocks]);
    free(work);
}

static int64_t words_of(int64_t units) { return (units + BLOCK - 1) / BLOCK; }

/* Whether a * b elements, with padding, have a size in bytes that an index can hold. */
static int fits(int64_t a, int64_t b)
{
    return a <= INT32_MAX && b <= INT32_MAX && a + BLOCK <= INT64_MAX / 64 / (b + BLOCK);
}

static int check(const struct gibbs *g, int64_t rounds)
{
    const int64_t smallest[] = {g->chains,     g->num_visible, g->num_hidden,
                                g->sweeps - 1, g->first_sweep, g->num_betas - 1};
    for (size_t i = 0; i < sizeof smallest / sizeof *smallest; i++)
        if (smallest[i] < 0)
            return BAD_SIZE;
    if (!fits(g->num_visible, g->num_hidden) || !fits(g->chains, g->num_visible) || !fits(g->chains, g->num_hidden) ||
        !fits(g->num_betas, 1))
        return BAD_SIZE;
    if (g->first_sweep > UINT32_MAX || g->sweeps > (UINT32_MAX - g->first_sweep) / rounds)
        return BAD_SIZE; /* noise would come again */
    if (g->instruction_set >= INSTRUCTION_SETS || (g->instruction_set >= 0 && !has(g->instruction_set)))
        return BAD_ARGUMENT;
    return OK;
}

static int prepare_layer(struct work *work, struct layer *layer, const struct gibbs *g, int64_t units, int64_t others,
                         uint32_t stream, int clamped)
{
    layer->units = units;
    layer->num_words = words_of(units);
    layer->stream = stream;
    layer->held_per_chain = clamped && g->clamp_per_chain;
    const int64_t padded = layer->num_words * BLOCK;
    const int64_t held = layer->num_words * (layer->held_per_chain ? g->chains : 1);
    layer->bias = take(work, padded, sizeof *layer->bias);
    layer->base = take(work, padded, sizeof *layer->base);
    layer->panels = take(work, padded * words_of(others) * BLOCK, sizeof *layer->panels);
    layer->words = take(work, layer->num_words * g->chains, sizeof *layer->words);
    layer->keep = take(work, held, sizeof *layer->keep);
    layer->set = take(work, held, sizeof *layer->set);
    return layer->bias && layer->base && layer->panels && layer->words && layer->keep && layer->set;
}

/* `rounds` is how many times g->sweeps sweeps are made. */
static struct work *prepare(const struct gibbs *g, int64_t rounds, int *error)
{
    if ((*error = check(g, rounds)) != OK)
        return NULL;
    struct work *work = calloc(1, sizeof *work);
    *error = NO_MEMORY;
    if (!work)
        return NULL;
    work->g = g;
    const int64_t most = g->num_threads < MAX_THREADS ? g->num_threads : MAX_THREADS;
    work->team.threads = most > 1 ? (int)most : 1;
    work->instruction_set = g->instruction_set >= 0 ? g->instruction_set : best_instruction_set();
    work->key[0] = (uint32_t)g->key[0];
    work->key[1] = (uint32_t)g->key[1];
    int good = prepare_layer(work, &work->visible, g, g->num_visible, g->num_hidden, 0, g->clamp != NULL);
    good = prepare_layer(work, &work->hidden, g, g->num_hidden, g->num_visible, 1, 0) && good;
    for (int i = 0; i < work->team.threads; i++) {
        work->sums[i] = take(work, (g->chains < TILE ? g->chains : TILE) * BLOCK, sizeof(float));
        work->tables[i] = take(work, TABLE, sizeof(float));
        good = good && work->sums[i] && work->tables[i];
    }
    if (!good) {
        give_back(work);
        return NULL;
    }
    *error = OK;
    return work;
}

/* A layer's constants; `by_unit` and `by_other` are the strides of the weights. Called by all threads of a team. */
static void pack_layer(struct team *team, struct layer *layer, const struct layer *other, const float *bias,
                       const float *base, const float *weight, int64_t by_unit, int64_t by_other)
{
    for (int64_t block; (block = claim(team)) < layer->num_words;) {
        float *panel = layer->panels + block * other->num_words * BLOCK * BLOCK;
        const int64_t start = block * BLOCK, units = units_of_word(layer, block);
        for (int64_t i = 0; i < BLOCK; i++) {
            layer->base[start + i] = i < units && base ? base[start + i] : 0;
            layer->bias[start + i] = i < units ? bias[start + i] - layer->base[start + i] : 0;
        }
        if (!layer->held_per_chain) {
            layer->keep[block] = units < BLOCK ? (1u << units) - 1 : ~0u;
            layer->set[block] = 0;
        }
        const int64_t full = units < BLOCK ? 0 : other->units; /* rows that will have no gap */
        memset(panel + full * BLOCK, 0, (size_t)((other->num_words * BLOCK - full) * BLOCK) * sizeof *panel);
        /* Sixteen rows at once, so that a cache line of either side is used up while it is there. */
        for (int64_t first = 0; first < other->units; first += 16) {
            const int64_t end = first + 16 < other->units ? first + 16 : other->units;
            if (by_unit == 1)
                for (int64_t j = first; j < end; j++)
                    memcpy(panel + j * BLOCK, weight + start + j * by_other, (size_t)units * sizeof *panel);
            else
                for (int64_t i = 0; i < units; i++)
                    for (int64_t j = first; j < end; j++)
                        panel[j * BLOCK + i] = weight[(start + i) * by_unit + j * by_other];
        }
    }
    meet(team);
}

/* For each chain c that falls to this thread: */
#define FOR_CHAINS(team, c, chains)                                                 \
    for (int64_t slice; (slice = claim(team) * SLICE) < (chains);)                  \
        for (int64_t c = slice; c < (chains) && c < slice + SLICE; c++)

/* The state's bits, 1 where it is 1; notes whether any is neither 0 nor 1. */
static void pack_state(struct work *work, struct layer *layer, const float *state, int64_t chains)
{
    FOR_CHAINS(&work->team, c, chains)
        for (int64_t w = 0; w < layer->num_words; w++) {
            const float *unit = state + c * layer->units + w * BLOCK;
            const int64_t units = units_of_word(layer, w);
            uint32_t word = 0;
            int other = 0;
            for (int64_t i = 0; i < units; i++) {
                word |= (uint32_t)(unit[i] == 1) << i;
                other |= (unit[i] != 0) & (unit[i] != 1);
            }
            layer->words[w * chains + c] = word;
            if (other)
                work->grey = 1;
        }
    meet(&work->team);
}

static void unpack_state(struct work *work, const struct layer *layer, float *state, int64_t chains)
{
    FOR_CHAINS(&work->team, c, chains)
        for (int64_t w = 0; w < layer->num_words; w++) {
            float *unit = state + c * layer->units + w * BLOCK;
            const int64_t units = units_of_word(layer, w);
            const uint32_t word = layer->words[w * chains + c];
            for (int64_t i = 0; i < units; i++)
                unit[i] = (float)((word >> i) & 1);
        }
    meet(&work->team);
}

/* Clamped units keep no drawn bit, and have set the one of their value. */
static void pack_clamp(struct work *work, struct layer *layer, const uint8_t *clamp, const float *value, int64_t chains)
{
    const int64_t rows = layer->held_per_chain ? chains : 1;
    FOR_CHAINS(&work->team, c, rows)
        for (int64_t w = 0; w < layer->num_words; w++) {
            const int64_t start = c * layer->units + w * BLOCK, units = units_of_word(layer, w);
            uint32_t keep = 0, set = 0;
            for (int64_t i = 0; i < units; i++)
                if (!clamp[start + i])
                    keep |= 1u << i;
                else
                    set |= (uint32_t)(value[start + i] == 1) << i;
            layer->keep[w * rows + c] = keep;
            layer->set[w * rows + c] = set;
        }
    meet(&work->team);
}

static void pack_weights(struct work *work, const struct gibbs *g)
{
    pack_layer(&work->team, &work->hidden, &work->visible, g->hidden_bias, NULL, g->weight, 1, g->num_hidden);
    pack_layer(&work->team, &work->visible, &work->hidden, g->visible_bias, g->base, g->weight, g->num_hidden, 1);
}

/* Draws layer `to` given the other one. */
static void draw(struct work *work, struct draw *d, struct layer *to, float *sums, float *table)
{
    d->to = to;
    d->from = to == &work->hidden ? &work->visible : &work->hidden;
    kernels[work->instruction_set].half_sweep(d, sums, table);
    meet(&work->team);
}

static void *run_thread(void *argument)
{
    struct work *work = argument;
    pthread_mutex_lock(&work->team.mutex); /* until it is known how many threads there are */
    pthread_mutex_unlock(&work->team.mutex);
    const int i = atomic_fetch_add(&work->started, 1);
    work->body(work, work->sums[i], work->tables[i]);
    return NULL;
}

/* Runs the body in all threads of the team: as many as can be started. */
static void run_team(struct work *work, void (*body)(struct work *, float *sums, float *table))
{
    pthread_t threads[MAX_THREADS];
    int others = 0;
    work->body = body;
    pthread_mutex_init(&work->team.mutex, NULL);
    pthread_cond_init(&work->team.met, NULL);
    pthread_mutex_lock(&work->team.mutex);
    while (others + 1 < work->team.threads && !pthread_create(&threads[others], NULL, run_thread, work))
        others++;
    work->team.threads = others + 1;
    pthread_mutex_unlock(&work->team.mutex);
    run_thread(work);
    while (others)
        pthread_join(threads[--others], NULL);
    pthread_cond_destroy(&work->team.met);
    pthread_mutex_destroy(&work->team.mutex);
}

static void run_body(struct work *work, float *sums, float *table)
{
    const struct gibbs *g = work->g;
    struct layer *visible = &work->visible, *hidden = &work->hidden;
    struct draw d = {.team = &work->team, .key = work->key, .chains = g->chains, .sweep = (uint32_t)g->first_sweep,
                     .beta = work->beta, .beta_per_chain = g->num_betas != 1, .sample = 1};
    pack_weights(work, g);
    if (g->clamp)
        pack_clamp(work, visible, g->clamp, g->clamp_value, g->chains);
    if (g->start_visible) {
        pack_state(work, visible, g->visible, g->chains);
        d.grey = work->grey ? g->visible : NULL;
        draw(work, &d, hidden, sums, table);
        d.grey = NULL;
    } else {
        pack_state(work, hidden, g->hidden, g->chains);
        if (work->grey)
            return;
    }
    for (int64_t sweep = 1; sweep <= g->sweeps; sweep++) {
        const int last = sweep == g->sweeps;
        d.sweep++;
        d.probability = last ? g->visible_probability : NULL;
        draw(work, &d, visible, sums, table);
        d.probability = last ? g->hidden_probability : NULL;
        draw(work, &d, hidden, sums, table);
    }
    unpack_state(work, visible, g->visible, g->chains);
    unpack_state(work, hidden, g->hidden, g->chains);
}

int64_t mxnet_rbm_gibbs_run(const struct gibbs *g)
{
    int error;
    struct work *work = prepare(g, 1, &error);
    if (!work)
        return error;
    work->beta = take(work, g->num_betas, sizeof *work->beta);
    if (!work->beta)
        error = NO_MEMORY;
    else if (g->num_betas != 1 && g->num_betas != g->chains)
        error = BAD_ARGUMENT;
    else {
        for (int64_t i = 0; i < g->num_betas; i++)
            work->beta[i] = (float)g->beta[i];
        run_team(work, run_body);
        error = work->grey && !g->start_visible ? NOT_BINARY : OK;
    }
    give_back(work);
    return error;
}

/* work->visible_steps[16 k + bits]: what the units 4 k..4 k + 3 add to (a - base).v where `bits` are on. */
static void tabulate_visible_steps(struct work *work)
{
    const struct gibbs *g = work->g;
    for (int64_t k = 0; k < work->visible.num_words * 8; k++)
        for (int bits = 0; bits < 16; bits++) {
            double sum = 0;
            for (int64_t i = 0; i < 4 && 4 * k + i < g->num_visible; i++)
                if (bits >> i & 1)
                    sum += (double)g->visible_bias[4 * k + i] - (g->base ? g->base[4 * k + i] : 0);
            work->visible_steps[16 * k + bits] = sum;
        }
}

static void add_weights(struct work *work, double step)
{
    const struct gibbs *g = work->g;
    FOR_CHAINS(&work->team, c, g->chains) {
        double visible = 0, hidden = 0;
        for (int64_t w = 0; w < work->visible.num_words; w++) {
            const uint32_t word = work->visible.words[w * g->chains + c];
            for (int k = 0; k < 8; k++)
                visible += work->visible_steps[16 * (8 * w + k) + (word >> 4 * k & 15)];
        }
        for (int64_t w = 0; w < work->hidden.num_words; w++)
            hidden += work->weights[w * g->chains + c];
        g->log_weight[c] += step * visible + (step < 0 ? -hidden : hidden);
    }
    meet(&work->team);
}

static void anneal_body(struct work *work, float *sums, float *table)
{
    const struct gibbs *g = work->g;
    struct layer *visible = &work->visible, *hidden = &work->hidden;
    float beta;
    struct draw d = {.team = &work->team, .key = work->key, .chains = g->chains, .sweep = (uint32_t)g->first_sweep,
                     .beta = &beta};
    pack_weights(work, g);
    pack_state(work, visible, g->visible, g->chains);
    if (work->grey)
        return;
    for (int64_t n = 1; n < g->num_betas; n++) {
        /* softplus(beta' x) - softplus(beta x) is taken from the smaller beta to the larger. */
        const double step = g->beta[n] - g->beta[n - 1];
        d.weight_beta = (float)(step < 0 ? g->beta[n] : g->beta[n - 1]);
        d.weight_step = (float)(step < 0 ? -step : step);
        beta = (float)g->beta[n];
        d.sample = n + 1 < g->num_betas || !g->finish;
        for (int64_t sweep = 0; sweep < (d.sample ? g->sweeps : 1); sweep++, d.sweep++) {
            d.weight = sweep ? NULL : work->weights;
            draw(work, &d, hidden, sums, table);
            if (d.weight)
                add_weights(work, step);
            d.weight = NULL;
            if (d.sample)
                draw(work, &d, visible, sums, table);
        }
    }
    unpack_state(work, visible, g->visible, g->chains);
}

int64_t mxnet_rbm_gibbs_anneal(const struct gibbs *g)
{
    int error;
    struct work *work = prepare(g, g->num_betas > 0 ? g->num_betas : 1, &error);
    if (!work)
        return error;
    work->weights = take(work, work->hidden.num_words * g->chains, sizeof *work->weights);
    work->visible_steps = take(work, work->visible.num_words * 8 * 16, sizeof *work->visible_steps);
    if (!work->weights || !work->visible_steps)
        error = NO_MEMORY;
    else {
        tabulate_visible_steps(work);
        run_team(work, anneal_body);
        error = work->grey ? NOT_BINARY : OK;
    }
    give_back(work);
    return error;
}

int64_t mxnet_rbm_gibbs_abi(void) { return ABI_VERSION * 1000 + (int64_t)sizeof(struct gibbs); }

int64_t mxnet_rbm_gibbs_has(int64_t instruction_set) { return has(instruction_set); }

/* The 32 words of noise of a block of units, for the tests. */
int64_t mxnet_rbm_gibbs_noise(int64_t instruction_set, const uint32_t *key, uint32_t block, uint32_t chain,
                              uint32_t sweep, uint32_t stream, int32_t *words)
{
    if (!has(instruction_set))
        return BAD_ARGUMENT;
    kernels[instruction_set].noise_of_block(key, block, chain, sweep, stream, words);
    return OK;
}

/* setuptools links this as a Python module, which finds a place for it; Python never imports it. */
void *PyInit__mxnet_rbm_native(void) { return NULL; }
