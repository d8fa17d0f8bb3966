/* Block Gibbs sampling and learning of the RBM on a CPU. The interface in Python is __init__.py,
 * learning.py and classes.py. gibbs.h has the structures, gibbs_kernel.inc the computation,
 * gibbs_targets.inc its instruction sets, gibbs_memory.inc the memory of a call, gibbs_threads.inc
 * the threads, and gibbs_learning.inc the functions for learning.
 *
 * - States are bits, 32 units in a word, with the chains of a word side by side:
 *   words[w * chains + chain].
 * - Weights are copied into panels once in a call (learn: once in a step). A panel has the weights
 *   of 32 units (a block) to all units of the other layer, padded with zeros to a multiple of 32.
 *   So the kernel reads memory from front to back, and has no incomplete blocks.
 * - Threads share the blocks of a layer, and wait for each other after each layer. Neither the
 *   order of a sum nor the noise depends on the thread that computes it. So results do not depend
 *   on the number of threads.
 * - These are POSIX threads. A thread that waits for others spins for some microseconds, and then
 *   sleeps. For the next call it spins for a millisecond. (OpenMP would take fewer lines. But
 *   GNU's OpenMP spins for milliseconds inside a call: while another program wanted a processor, a
 *   call took ten times as long with two threads as with one. And its threads hang in a forked
 *   child.)
 */

#if !defined __GNUC__ || !(defined __x86_64__ || defined __aarch64__) || !defined __LP64__ || \
    __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The native Gibbs engine is for GNU C (gcc, clang) on 64-bit x86 and ARM, little-endian, not Windows."
#else /* the rest of the file, so that a compiler reports only this error */

#include "gibbs.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
/* Newer versions of glibc have newer symbol versions of these functions. No other function of the
 * library would keep it from loading on systems of 2014 (manylinux2014). */
#ifdef __x86_64__
#define OLDEST "GLIBC_2.2.5"
#else
#define OLDEST "GLIBC_2.17"
#endif
__asm__(".symver pthread_create,pthread_create@" OLDEST);
__asm__(".symver pthread_detach,pthread_detach@" OLDEST);
__asm__(".symver pthread_mutex_trylock,pthread_mutex_trylock@" OLDEST);
#endif
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#define PAUSE() _mm_pause()
#else
#include <arm_neon.h>
/* `isb` waits for the pipeline. `yield` does nothing on most processors. */
#define PAUSE() __asm__ volatile("isb")
#endif

#include "gibbs_threads.inc" /* the threads of a call */

static int64_t units_of_word(const struct layer *layer, int64_t w)
{
    return layer->units - w * BLOCK < BLOCK ? layer->units - w * BLOCK : BLOCK;
}

/* Whether any unit of a word is on in any of `count` chains. At the borders of digits this is
 * rare. */
static int any_on(const uint32_t *words, int64_t count)
{
    uint32_t any = 0;
    for (int64_t c = 0; c < count; c++)
        any |= words[c];
    return any != 0;
}

/* to[i * stride + c] = from[c * BLOCK + i], for i and c below 4. */
INLINE void transpose(const float *from, float *to, int64_t stride)
{
    const four a = *(const four *)from, b = *(const four *)(from + BLOCK);
    const four c = *(const four *)(from + 2 * BLOCK), d = *(const four *)(from + 3 * BLOCK);
    const four ab = CHOOSE(a, b, 0, 4, 1, 5), cd = CHOOSE(c, d, 0, 4, 1, 5);
    const four upper_ab = CHOOSE(a, b, 2, 6, 3, 7), upper_cd = CHOOSE(c, d, 2, 6, 3, 7);
    *(four *)to = CHOOSE(ab, cd, 0, 1, 4, 5);
    *(four *)(to + stride) = CHOOSE(ab, cd, 2, 3, 6, 7);
    *(four *)(to + 2 * stride) = CHOOSE(upper_ab, upper_cd, 0, 1, 4, 5);
    *(four *)(to + 3 * stride) = CHOOSE(upper_ab, upper_cd, 2, 3, 6, 7);
}

/* The larger number; NaN counts as the largest. */
static float larger(float a, float b) { return a >= b || a != a ? a : b; }

#include "gibbs_targets.inc" /* the kernels for each instruction set */
#include "gibbs_memory.inc"  /* what a call allocates, packs and releases */

/* Draws layer `to` given the other layer, softmax groups included. All threads call this. */
static void draw(struct work *work, struct draw *d, struct layer *to, struct scratch *scratch)
{
    d->to = to;
    d->from = to == &work->hidden ? &work->visible : &work->hidden;
    if (work->visible.state) {
        d->grey_state = to == &work->hidden ? work->visible.state : NULL;
        d->grey_rows = d->chains;
    }
    kernels[work->instruction_set].half_sweep(d, scratch->sums, scratch->table);
    wait_for_team(&work->team);
    if (!d->sample || !to->num_groups)
        return;
    for (int64_t slice; (slice = claim(&work->team) * SLICE) < d->chains;)
        kernels[work->instruction_set].draw_groups(d, slice, slice + SLICE < d->chains ? slice + SLICE : d->chains);
    wait_for_team(&work->team);
}

static void run_body(struct work *work, struct scratch *scratch)
{
    const struct gibbs *g = work->g;
    struct layer *visible = &work->visible, *hidden = &work->hidden;
    struct draw d = {.team = &work->team, .key = work->key, .chains = g->chains, .sweep = (uint32_t)g->first_sweep,
                     .beta = work->beta, .beta_per_chain = g->num_betas != 1, .sample = 1,
                     .retain = (float)g->retain, .spread = (float)g->spread};
    d.scale = pack_weight(work, g, scratch, 1);
    if (g->clamp)
        pack_clamp(work, visible, g->clamp, g->clamp_value, g->chains);
    if (g->start_visible && g->gaussian)
        draw(work, &d, hidden, scratch);
    else if (g->start_visible) {
        pack_state(work, visible, g->visible, g->chains, g->chains, &work->start_is_grey);
        d.grey_state = work->start_is_grey ? g->visible : NULL;
        d.grey_rows = g->chains;
        draw(work, &d, hidden, scratch);
        d.grey_state = NULL;
    } else {
        pack_state(work, hidden, g->hidden, g->chains, g->chains, &work->start_is_grey);
        if (work->start_is_grey)
            return;
    }
    for (int64_t sweep = 1; sweep <= g->sweeps; sweep++) {
        const int last = sweep == g->sweeps;
        d.sweep++;
        d.probability = last ? g->visible_probability : NULL;
        draw(work, &d, visible, scratch);
        d.probability = last ? g->hidden_probability : NULL;
        draw(work, &d, hidden, scratch);
    }
    if (!g->gaussian)
        unpack_state(work, visible, g->visible, g->chains);
    unpack_state(work, hidden, g->hidden, g->chains);
}

int64_t mxnet_rbm_gibbs_run(const struct gibbs *g)
{
    int error;
    struct work *work = prepare(g, 1, g->chains, &error);
    if (!work)
        return error;
    work->beta = allocate(work, g->num_betas, sizeof *work->beta);
    if (!work->beta)
        error = NO_MEMORY;
    else if (g->num_betas != 1 && g->num_betas != g->chains)
        error = BAD_ARGUMENT;
    else {
        for (int64_t i = 0; i < g->num_betas; i++)
            work->beta[i] = (float)g->beta[i];
        run_team(work, run_body);
        error = work->start_is_grey && !g->start_visible ? NOT_BINARY : OK;
    }
    release(work);
    return error;
}

/* work->visible_steps[16 k + bits] = the part that units 4k, ..., 4k + 3 have in (a - base).v, if
 * `bits` are their states. */
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

/* Adds log p*_beta'(v) - log p*_beta(v) to the log-weights, with step = beta' - beta and the inputs
 * x_j = b_j + (v W)_j:
 *     step (a - base).v + sum_j [softplus(beta' x_j) - softplus(beta x_j)].
 * The factors exp(-v^2 / 2) of Gaussian units do not depend on beta, and cancel. */
static void add_log_weights(struct work *work, double step)
{
    const struct gibbs *g = work->g;
    FOR_CHAINS(&work->team, c, g->chains) {
        double visible = 0, hidden = 0;
        for (int64_t i = 0; g->gaussian && i < g->num_visible; i++)
            visible += ((double)g->visible_bias[i] - (g->base ? g->base[i] : 0)) * g->visible[c * g->num_visible + i];
        for (int64_t w = 0; !g->gaussian && w < work->visible.num_words; w++) {
            const uint32_t word = work->visible.words[w * g->chains + c];
            for (int k = 0; k < 8; k++)
                visible += work->visible_steps[16 * (8 * w + k) + (word >> 4 * k & 15)];
        }
        for (int64_t w = 0; w < work->hidden.num_words; w++)
            hidden += work->hidden_log_weight[w * g->chains + c];
        g->log_weight[c] += step * visible + (step < 0 ? -hidden : hidden);
    }
    wait_for_team(&work->team);
}

static void anneal_body(struct work *work, struct scratch *scratch)
{
    const struct gibbs *g = work->g;
    struct layer *visible = &work->visible, *hidden = &work->hidden;
    float beta;
    struct draw d = {.team = &work->team, .key = work->key, .chains = g->chains, .sweep = (uint32_t)g->first_sweep,
                     .beta = &beta, .spread = 1};
    pack_weight(work, g, scratch, 1);
    if (g->clamp)
        pack_clamp(work, visible, g->clamp, g->clamp_value, g->chains);
    if (!g->gaussian)
        pack_state(work, visible, g->visible, g->chains, g->chains, &work->start_is_grey);
    if (work->start_is_grey)
        return;
    for (int64_t n = 1; n < g->num_betas; n++) {
        /* softplus_step computes softplus(beta' x) - softplus(beta x) for beta' >= beta. If beta
         * decreases, the two are swapped here, and add_log_weights negates the result. */
        const double step = g->beta[n] - g->beta[n - 1];
        d.log_weight_beta = (float)(step < 0 ? g->beta[n] : g->beta[n - 1]);
        d.log_weight_step = (float)(step < 0 ? -step : step);
        beta = (float)g->beta[n];
        d.sample = n + 1 < g->num_betas || !g->finish;
        for (int64_t sweep = 0; sweep < (d.sample ? g->sweeps : 1); sweep++, d.sweep++) {
            d.log_weight = sweep ? NULL : work->hidden_log_weight;
            draw(work, &d, hidden, scratch);
            if (d.log_weight)
                add_log_weights(work, step);
            d.log_weight = NULL;
            if (d.sample)
                draw(work, &d, visible, scratch);
        }
    }
    if (!g->gaussian)
        unpack_state(work, visible, g->visible, g->chains);
}

int64_t mxnet_rbm_gibbs_anneal(const struct gibbs *g)
{
    int error;
    struct work *work = prepare(g, g->num_betas > 0 ? g->num_betas : 1, g->chains, &error);
    if (!work)
        return error;
    work->hidden_log_weight = allocate(work, work->hidden.num_words * g->chains, sizeof *work->hidden_log_weight);
    work->visible_steps = allocate(work, work->visible.num_words * 8 * 16, sizeof *work->visible_steps);
    if (!work->hidden_log_weight || !work->visible_steps)
        error = NO_MEMORY;
    else if (g->fixed_point)
        error = BAD_ARGUMENT;
    else {
        tabulate_visible_steps(work);
        run_team(work, anneal_body);
        error = work->start_is_grey ? NOT_BINARY : OK;
    }
    release(work);
    return error;
}

#include "gibbs_learning.inc" /* means, gradients, steps, classes */

int64_t mxnet_rbm_gibbs_abi(void) { return ABI_VERSION; }

#define TYPE(member)                                                                               \
    _Generic(member, int64_t: "int64", const int64_t *: "const int64 *", double: "float64", float *: "float32 *",                     \
        const float *: "const float32 *", double *: "float64 *", const double *: "const float64 *", \
        const uint8_t *: "const uint8 *")
#define FIELD_OF(structure, name) \
    {#name, TYPE(((structure *)0)->name), offsetof(structure, name), sizeof ((structure *)0)->name}

const struct gibbs_field *mxnet_rbm_gibbs_fields(void)
{
#define FIELD(name) FIELD_OF(struct gibbs, name)
    static const struct gibbs_field fields[] = {
        FIELD(chains), FIELD(num_visible), FIELD(num_hidden), FIELD(sweeps), FIELD(first_sweep), FIELD(num_betas),
        FIELD(start_visible), FIELD(clamp_per_chain), FIELD(finish), FIELD(key_0), FIELD(key_1), FIELD(fixed_point),
        FIELD(num_threads), FIELD(instruction_set), FIELD(gaussian), FIELD(num_groups), FIELD(groups), FIELD(weight),
        FIELD(visible_bias), FIELD(hidden_bias), FIELD(base), FIELD(beta), FIELD(clamp), FIELD(clamp_value),
        FIELD(retain), FIELD(spread),
        FIELD(visible), FIELD(hidden), FIELD(visible_probability), FIELD(hidden_probability),
        FIELD(hidden_input), FIELD(scale), FIELD(log_weight),
        {NULL, NULL, 0, 0},
    };
    _Static_assert((sizeof fields / sizeof *fields - 1) * 8 == sizeof(struct gibbs), "a field is missing above");
    return fields;
#undef FIELD
}

const struct gibbs_field *mxnet_rbm_learning_fields(void)
{
#define FIELD(name) FIELD_OF(struct learning, name)
    static const struct gibbs_field fields[] = {
        FIELD(rows), FIELD(num_rows), FIELD(from_data), FIELD(keys), FIELD(add), FIELD(factor), FIELD(rescale), FIELD(sparsity_target), FIELD(sparsity_cost),
        FIELD(weight_decay_l1), FIELD(rate), FIELD(momentum), FIELD(weight_decay), FIELD(data), FIELD(data_hidden),
        FIELD(visible_offset), FIELD(hidden_offset), FIELD(weight_gradient), FIELD(visible_gradient),
        FIELD(hidden_gradient), FIELD(weight), FIELD(visible_bias), FIELD(hidden_bias), FIELD(weight_velocity),
        FIELD(visible_velocity), FIELD(hidden_velocity),
        {NULL, NULL, 0, 0},
    };
    _Static_assert((sizeof fields / sizeof *fields - 1) * 8 == sizeof(struct learning), "a field is missing above");
    return fields;
#undef FIELD
}

const struct gibbs_field *mxnet_rbm_classes_fields(void)
{
#define FIELD(name) FIELD_OF(struct classes, name)
    static const struct gibbs_field fields[] = {
        FIELD(rows), FIELD(num_classes), FIELD(num_hidden), FIELD(input), FIELD(label_weight), FIELD(first), FIELD(score),
        FIELD(slope), FIELD(hidden), FIELD(label_hidden),
        {NULL, NULL, 0, 0},
    };
    _Static_assert((sizeof fields / sizeof *fields - 1) * 8 == sizeof(struct classes), "a field is missing above");
    return fields;
#undef FIELD
}

int64_t mxnet_rbm_gibbs_has(int64_t instruction_set) { return has(instruction_set); }

/* The 32 words of noise of a block of units. Only tests call this. */
int64_t mxnet_rbm_gibbs_noise(int64_t instruction_set, const uint32_t *key, uint32_t block, uint32_t chain,
                              uint32_t sweep, uint32_t stream, int32_t *words)
{
    if (!has(instruction_set))
        return BAD_ARGUMENT;
    kernels[instruction_set].noise_of_block(key, block, chain, sweep, stream, words);
    return OK;
}

/* setuptools builds and installs only modules of Python, so the library must export this name.
 * Python never imports it. */
void *PyInit__mxnet_rbm_native(void) { return NULL; }

#endif
