/* Block Gibbs sampling and annealing of the binary RBM on a GPU. The chains are those of the C
 * engine (../native/gibbs.c).
 *
 * - `run` and `anneal` run one chain in each thread block, with all sweeps of a launch. States are
 *   bits in shared memory, 32 units in a word.
 * - A thread computes four units at a time: units 2q, 2q + 1, 16 + 2q and 17 + 2q of a word. They
 *   share a counter of the noise. The thread adds the rows of weights that belong to units that are
 *   on. These rows come from the second-level cache.
 * - The noise has the keys and counters of the C engine. Results are rounded in the same places:
 *   `fmaf` is used where a C compiler contracts, and nothing else is contracted (--fmad=false). So
 *   if no sum of weights is rounded, the chains are those of the C engine, bit for bit.
 *
 * The file is both C and CUDA. The tests compile it with a C compiler, and define the keywords and
 * functions of CUDA in a header of their own. launch.py reads the parameters of the kernels from
 * this text, so no comment is among them.
 */

#ifdef __CUDACC__
#define ENTRY extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define DYNAMIC_SHARED(name) extern __shared__ double name[]
#define UNROLL _Pragma("unroll")
#endif

#define BLOCK 32    /* units in a word, one bit each */
#define QUADS 8     /* quads (four units of one thread) in a word */
#define AHEAD 8     /* rows that are loaded before the first of them is added */

typedef unsigned long long wide;

/* What all thread blocks of a launch share. "Padded" numbers of units are multiples of 32. */
struct call {
    int num_visible, num_hidden;
    unsigned key_0, key_1;
    int num_groups, clamp_per_chain; /* -1: no clamp; 0: one for all chains; 1: one for each */
    const float *visible_rows;       /* weights W, transposed, (num_hidden, padded num_visible) */
    const float *hidden_rows;        /* weights W, (num_visible, padded num_hidden) */
    const float *visible_bias, *hidden_bias, *base; /* padded; visible_bias is a - base */
    const int *groups;                              /* (num_groups, 2) */
};

/* One layer of one chain. */
struct layer {
    int units, words;
    unsigned stream; /* visible 0, hidden 1: the layers have different noise */
    unsigned *state; /* shared, (words,) */
    int *list;       /* shared, (units,): the units that are on */
    const float *rows, *bias, *base;
    int padded;
};

/* The shared memory of a thread block. */
struct shared {
    double *sums;         /* (threads,): log-weights */
    unsigned *keep, *set; /* (visible words,): state = drawn & keep | set */
    unsigned *grouped;    /* (visible words,): bits of the units in softmax groups */
    unsigned *part;       /* (quads of the larger layer,): the bits that each quad has drawn */
    float *input;         /* (num_visible,): inputs of visible units, if there are softmax groups */
    int *count;           /* number of units in the list */
};

DEVICE int words_of(int units) { return (units + BLOCK - 1) / BLOCK; }

/* The place of unit i of a quad (i from 0 to 3) in its word, ... */
DEVICE int place_of(int quad, int i) { return 2 * (quad % QUADS) + i % 2 + i / 2 * 16; }

/* ... and in the layer. */
DEVICE int unit_of(int quad, int i) { return quad / QUADS * BLOCK + place_of(quad, i); }

/* --- Noise --- */

/* Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011). */
DEVICE void philox(unsigned counter, unsigned chain, unsigned sweep, unsigned stream, unsigned key_0, unsigned key_1,
                   unsigned noise[4])
{
    unsigned c0 = counter, c1 = chain, c2 = sweep, c3 = stream;
    UNROLL
    for (int round = 0; round < 10; round++) {
        const wide product_0 = (wide)c0 * 0xD2511F53u, product_1 = (wide)c2 * 0xCD9E8D57u;
        c0 = (unsigned)(product_1 >> 32) ^ c1 ^ key_0;
        c2 = (unsigned)(product_0 >> 32) ^ c3 ^ key_1;
        c1 = (unsigned)product_1;
        c3 = (unsigned)product_0;
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
    noise[0] = c0;
    noise[1] = c1;
    noise[2] = c2;
    noise[3] = c3;
}

/* --- Functions of floats, as in ../native/gibbs_kernel.inc --- */

/* Splits e^y = scale (1 + rest). */
DEVICE float exponential(float y, float *scale)
{
    /* Adding 1.5 x 2^23 rounds a number to an integer, which is then in the low bits. */
    const float round = 12582912.0f;
    union {
        float number;
        unsigned bits;
    } shifted, power;
    float n, r, q;
    y = y < 88.0f ? y : 88.0f;
    y = y > -87.0f ? y : -87.0f;
    shifted.number = fmaf(y, 1.44269504f, round);
    n = shifted.number - round;
    r = fmaf(n, 2.12194440e-4f, fmaf(-n, 0.693359375f, y));
    q = fmaf(r, 0.00139338837f, 0.00836333539f);
    q = fmaf(q, r, 0.0416664630f);
    q = fmaf(q, r, 0.166665763f);
    q = fmaf(q, r, 0.5f);
    power.bits = (shifted.bits << 23) + 0x3f800000u;
    *scale = power.number;
    return fmaf(q, r * r, r);
}

DEVICE float exp_of(float y)
{
    float scale;
    const float rest = exponential(y, &scale);
    return fmaf(scale, rest, scale);
}

/* softplus((beta + step) x) - softplus(beta x), for beta, step >= 0. */
DEVICE float softplus_step(float x, float beta, float step)
{
    float scale, size = x < 0 ? -x : x, positive = x > 0 ? x : 0, rest, numerator, z, s, q;
    if (x != x)
        return x;
    rest = exponential(-(step * size), &scale);
    numerator = fmaf(scale, rest, scale - 1.0f);
    z = numerator / fmaf(2.0f, 1.0f + exp_of(beta * size), numerator);
    s = z * z;
    q = fmaf(s, 0.134337962f, 0.141169742f);
    q = fmaf(q, s, 0.200038359f);
    q = fmaf(q, s, 0.333333194f);
    z = fmaf(z * s, q, z);
    return fmaf(step, positive, z + z);
}

/* --- A half sweep --- */

/* sum += the rows of the units in the list, in the columns first, first + 1, first + 16 and
 * first + 17. */
DEVICE void add_rows(const struct layer *to, const int *list, int count, int first, float sum[4])
{
    const float *columns = to->rows + first;
    int n = 0;
    for (; n + AHEAD <= count; n += AHEAD) {
        float2 low[AHEAD], high[AHEAD];
        UNROLL
        for (int ahead = 0; ahead < AHEAD; ahead++) {
            const float *row = columns + (wide)list[n + ahead] * to->padded;
            low[ahead] = *(const float2 *)row;
            high[ahead] = *(const float2 *)(row + 16);
        }
        UNROLL
        for (int ahead = 0; ahead < AHEAD; ahead++) {
            sum[0] += low[ahead].x;
            sum[1] += low[ahead].y;
            sum[2] += high[ahead].x;
            sum[3] += high[ahead].y;
        }
    }
    for (; n < count; n++) {
        const float *row = columns + (wide)list[n] * to->padded;
        sum[0] += row[0];
        sum[1] += row[1];
        sum[2] += row[16];
        sum[3] += row[17];
    }
}

/* The same if some values are neither 0 nor 1: sum += value x row. The list has the units that are
 * not 0. */
DEVICE void add_grey(const struct layer *to, const float *value, const int *list, int count, int first, float sum[4])
{
    for (int n = 0; n < count; n++) {
        const float *row = to->rows + first + (wide)list[n] * to->padded;
        const float factor = value[list[n]];
        sum[0] = fmaf(factor, row[0], sum[0]);
        sum[1] = fmaf(factor, row[1], sum[1]);
        sum[2] = fmaf(factor, row[16], sum[2]);
        sum[3] = fmaf(factor, row[17], sum[3]);
    }
}

/* Lists the units that are on. All threads call this, after a barrier behind the last write to the
 * words. Afterwards all threads may read the list. */
DEVICE void list_units(const struct layer *layer, int *count)
{
    for (int w = (int)threadIdx.x; w < layer->words; w += (int)blockDim.x) {
        int place = 0;
        for (int before = 0; before < w; before++)
            place += __popc(layer->state[before]);
        for (unsigned word = layer->state[w]; word; word &= word - 1)
            layer->list[place++] = w * BLOCK + __ffs((int)word) - 1;
        if (w == layer->words - 1)
            *count = place;
    }
    __syncthreads();
}

/* Turns on one unit of each softmax group that is not held. This is the first unit at which the
 * cumulative softmax of the inputs reaches a uniform number. Each group has one word of noise.
 * These words have the block numbers that follow the last block of the layer. */
DEVICE void draw_groups(const struct call *c, const struct shared *s, const struct layer *to, unsigned chain,
                        unsigned sweep, float *probability)
{
    for (int k = (int)threadIdx.x; k < c->num_groups; k += (int)blockDim.x) {
        const int start = c->groups[2 * k], stop = c->groups[2 * k + 1], place = k % BLOCK;
        float largest = s->input[start], total = 0, sum = 0, passed;
        unsigned noise[4];
        int chosen = stop - 1;
        if (!(s->keep[start / BLOCK] >> start % BLOCK & 1))
            continue;
        philox((unsigned)(QUADS * (to->words + k / BLOCK) + place % 16 / 2), chain, sweep, to->stream, c->key_0, c->key_1,
               noise);
        for (int i = start; i < stop; i++)
            largest = s->input[i] > largest ? s->input[i] : largest;
        for (int i = start; i < stop; i++) {
            s->input[i] = exp_of(s->input[i] - largest);
            total += s->input[i];
        }
        passed = ((float)(noise[place / 16 * 2 + place % 2] >> 8) + 1.0f) * 5.9604644775390625e-8f * total;
        for (int i = start; i < stop - 1; i++) {
            sum += s->input[i];
            if (sum >= passed) {
                chosen = i;
                break;
            }
        }
        atomicOr(&to->state[chosen / BLOCK], 1u << chosen % BLOCK);
        for (int i = start; probability && i < stop; i++)
            probability[i] = s->input[i] / total;
    }
    __syncthreads();
}

/* Draws the four units of a quad, given their inputs x. Returns their bits in their places in a
 * word, and stores 1 / p in `inverse`. */
DEVICE unsigned draw_units(const struct call *c, unsigned stream, int quad, unsigned chain, unsigned sweep,
                           const float x[4], float inverse[4])
{
    unsigned noise[4], bits = 0;
    philox((unsigned)quad, chain, sweep, stream, c->key_0, c->key_1, noise);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const float k = (float)(noise[i] >> 8);
        /* 1 / p. The unit is on if (k + 1) / p <= 2^24, where k has 24 random bits. */
        inverse[i] = 1.0f + exp_of(-x[i]);
        bits |= (unsigned)(fmaf(k, inverse[i], inverse[i]) <= 16777216.0f) << place_of(quad, i);
    }
    return bits;
}

/* Draws layer `to`, and lists its units that are on. The inputs are base + beta (bias + sum of the
 * rows of units that are on). `grey` has the values of the other layer if some are neither 0 nor 1,
 * else it is NULL. If `log_weight` is not NULL, each thread adds to it, for its units,
 *     softplus((low_beta + step) x) - softplus(low_beta x),    x = bias + sum of rows.
 * Without `sample` nothing is drawn or listed. */
DEVICE void half_sweep(const struct call *c, const struct shared *s, const struct layer *to, const struct layer *from,
                       const float *grey, float beta, unsigned chain, unsigned sweep, float *probability, int sample,
                       double *log_weight, float low_beta, float step)
{
    const int count = *s->count;
    for (int quad = (int)threadIdx.x; quad < QUADS * to->words; quad += (int)blockDim.x) {
        const int first = unit_of(quad, 0);
        float sum[4], x[4], inverse[4];
        for (int i = 0; i < 4; i++)
            sum[i] = to->bias[unit_of(quad, i)];
        if (grey)
            add_grey(to, grey, from->list, count, first, sum);
        else
            add_rows(to, from->list, count, first, sum);
        for (int i = 0; i < 4; i++) {
            const int unit = unit_of(quad, i);
            if (log_weight && unit < to->units)
                *log_weight += softplus_step(sum[i], low_beta, step);
            x[i] = fmaf(beta, sum[i], to->base ? to->base[unit] : 0.0f);
            if (c->num_groups && !to->stream && unit < to->units)
                s->input[unit] = x[i];
        }
        if (!sample)
            continue;
        s->part[quad] = draw_units(c, to->stream, quad, chain, sweep, x, inverse);
        for (int i = 0; probability && i < 4; i++) {
            const int unit = unit_of(quad, i);
            if (unit < to->units)
                probability[unit] = 1.0f / inverse[i];
        }
    }
    __syncthreads();
    if (!sample)
        return;
    for (int w = (int)threadIdx.x; w < to->words; w += (int)blockDim.x) {
        unsigned word = 0, keep = ~0u, set = 0;
        for (int q = 0; q < QUADS; q++)
            word |= s->part[w * QUADS + q];
        if (!to->stream) { /* the visible layer */
            word &= ~s->grouped[w];
            keep = s->keep[w];
            set = s->set[w];
            for (int i = 0; probability && i < BLOCK && w * BLOCK + i < to->units; i++)
                if (!(keep >> i & 1))
                    probability[w * BLOCK + i] = (float)(set >> i & 1);
        }
        if (to->units - w * BLOCK < BLOCK)
            keep &= (1u << (to->units - w * BLOCK)) - 1;
        to->state[w] = (word & keep) | set;
    }
    __syncthreads();
    if (c->num_groups && !to->stream)
        draw_groups(c, s, to, chain, sweep, probability);
    list_units(to, s->count);
}

/* --- A thread block's chain --- */

/* Divides the shared memory among the arrays. `shared_bytes` in launch.py computes the size of all
 * arrays, and must agree with this. */
DEVICE void lay_out(const struct call *c, double *memory, struct shared *s, struct layer *visible, struct layer *hidden)
{
    const int most_words = words_of(c->num_visible > c->num_hidden ? c->num_visible : c->num_hidden);
    unsigned *next;
    visible->units = c->num_visible;
    hidden->units = c->num_hidden;
    visible->words = words_of(c->num_visible);
    hidden->words = words_of(c->num_hidden);
    visible->padded = visible->words * BLOCK;
    hidden->padded = hidden->words * BLOCK;
    visible->stream = 0;
    hidden->stream = 1;
    visible->rows = c->visible_rows;
    hidden->rows = c->hidden_rows;
    visible->bias = c->visible_bias;
    hidden->bias = c->hidden_bias;
    visible->base = c->base;
    hidden->base = 0;
    s->sums = memory;
    next = (unsigned *)(memory + blockDim.x);
    s->count = (int *)next;
    s->keep = next + 1;
    s->set = s->keep + visible->words;
    s->grouped = s->set + visible->words;
    visible->state = s->grouped + visible->words;
    hidden->state = visible->state + visible->words;
    s->part = hidden->state + hidden->words;
    /* Only one of the two lists is needed at a time. */
    visible->list = hidden->list = (int *)(s->part + QUADS * most_words);
    s->input = (float *)(visible->list + most_words * BLOCK);
}

/* Reads which units are held and at which values, and which units are in softmax groups. */
DEVICE void read_conditions(const struct call *c, const struct shared *s, const struct layer *visible, unsigned chain,
                            const unsigned char *clamp, const float *clamp_value)
{
    const wide row = c->clamp_per_chain > 0 ? (wide)chain * (unsigned)visible->units : 0;
    for (int w = (int)threadIdx.x; w < visible->words; w += (int)blockDim.x) {
        unsigned keep = ~0u, set = 0;
        for (int i = 0; c->clamp_per_chain >= 0 && i < BLOCK && w * BLOCK + i < visible->units; i++)
            if (clamp[row + (unsigned)(w * BLOCK + i)]) {
                keep &= ~(1u << i);
                set |= (unsigned)(clamp_value[row + (unsigned)(w * BLOCK + i)] == 1.0f) << i;
            }
        s->keep[w] = keep;
        s->set[w] = set;
        s->grouped[w] = 0;
    }
    __syncthreads();
    for (int k = (int)threadIdx.x; k < c->num_groups; k += (int)blockDim.x)
        for (int i = c->groups[2 * k]; i < c->groups[2 * k + 1]; i++)
            atomicOr(&s->grouped[i / BLOCK], 1u << i % BLOCK);
    __syncthreads();
}

/* Sets the bits of a layer where its values are not 0, and lists these units. Before that, held
 * visible units take their held value. Returns whether a value is neither 0 nor 1. */
DEVICE int read_state(const struct shared *s, const struct layer *layer, float *value)
{
    int grey;
    if (threadIdx.x == 0)
        s->part[0] = 0;
    __syncthreads();
    for (int w = (int)threadIdx.x; w < layer->words; w += (int)blockDim.x) {
        unsigned word = 0, other = 0;
        for (int i = 0; i < BLOCK && w * BLOCK + i < layer->units; i++) {
            if (!layer->stream && !(s->keep[w] >> i & 1))
                value[w * BLOCK + i] = (float)(s->set[w] >> i & 1);
            const float unit = value[w * BLOCK + i];
            word |= (unsigned)(unit != 0) << i;
            other |= (unit != 0) & (unit != 1);
        }
        layer->state[w] = word;
        if (other)
            atomicOr(&s->part[0], 1u);
    }
    __syncthreads();
    grey = (int)s->part[0];
    list_units(layer, s->count);
    return grey;
}

DEVICE void write_state(const struct layer *layer, float *value)
{
    for (int unit = (int)threadIdx.x; unit < layer->units; unit += (int)blockDim.x)
        value[unit] = (float)(layer->state[unit / BLOCK] >> unit % BLOCK & 1);
}

/* --- Kernels --- */

/* Writes the weights as padded rows for both layers, and the padded biases. */
ENTRY pack(const int num_visible, const int num_hidden, const int has_base, const float *weight, const float *visible_bias,
           const float *hidden_bias, const float *base, float *visible_rows, float *hidden_rows, float *biases)
{
    const wide visible_padded = (wide)(words_of(num_visible) * BLOCK), hidden_padded = (wide)(words_of(num_hidden) * BLOCK);
    const wide v = (wide)num_visible, h = (wide)num_hidden;
    const wide step = (wide)gridDim.x * blockDim.x, start = (wide)blockIdx.x * blockDim.x + threadIdx.x;
    for (wide n = start; n < h * visible_padded; n += step) {
        const wide j = n / visible_padded, i = n % visible_padded;
        visible_rows[n] = i < v ? weight[i * h + j] : 0.0f;
    }
    for (wide n = start; n < v * hidden_padded; n += step) {
        const wide i = n / hidden_padded, j = n % hidden_padded;
        hidden_rows[n] = j < h ? weight[i * h + j] : 0.0f;
    }
    /* biases = (b, a - base, base) */
    for (wide n = start; n < hidden_padded; n += step)
        biases[n] = n < h ? hidden_bias[n] : 0.0f;
    for (wide n = start; n < visible_padded; n += step) {
        const float of_unit = n < v && has_base ? base[n] : 0.0f;
        biases[hidden_padded + n] = n < v ? visible_bias[n] - of_unit : 0.0f;
        biases[hidden_padded + visible_padded + n] = of_unit;
    }
}

DEVICE struct call new_call(int num_visible, int num_hidden, int key_0, int key_1, int num_groups,
                            int clamp_per_chain, const float *visible_rows, const float *hidden_rows, const float *biases,
                            const int *groups)
{
    struct call c;
    c.num_visible = num_visible;
    c.num_hidden = num_hidden;
    c.key_0 = (unsigned)key_0;
    c.key_1 = (unsigned)key_1;
    c.num_groups = num_groups;
    c.clamp_per_chain = clamp_per_chain;
    c.visible_rows = visible_rows;
    c.hidden_rows = hidden_rows;
    c.hidden_bias = biases;
    c.visible_bias = biases + words_of(num_hidden) * BLOCK;
    c.base = c.visible_bias + words_of(num_visible) * BLOCK;
    c.groups = groups;
    return c;
}

/* Runs `sweeps` sweeps of each chain from its visible or hidden state. Writes both states after the
 * last sweep, and the probabilities that they were drawn from. */
ENTRY run(const int num_visible, const int num_hidden, const int sweeps, const int first_sweep,
          const int key_0, const int key_1, const int start_visible, const int beta_per_chain, const int num_groups,
          const int clamp_per_chain, const float *visible_rows, const float *hidden_rows, const float *biases,
          const int *groups, const float *beta, const unsigned char *clamp, const float *clamp_value, float *visible,
          float *hidden, float *visible_probability, float *hidden_probability)
{
    DYNAMIC_SHARED(memory);
    const unsigned chain = blockIdx.x;
    const struct call c = new_call(num_visible, num_hidden, key_0, key_1, num_groups, clamp_per_chain,
                                   visible_rows, hidden_rows, biases, groups);
    const float inverse_temperature = beta[beta_per_chain ? chain : 0];
    float *visible_state = visible + (wide)chain * (unsigned)num_visible;
    float *hidden_state = hidden + (wide)chain * (unsigned)num_hidden;
    struct shared s;
    struct layer v, h;
    unsigned sweep = (unsigned)first_sweep;
    lay_out(&c, memory, &s, &v, &h);
    read_conditions(&c, &s, &v, chain, clamp, clamp_value);
    if (start_visible) {
        const int grey = read_state(&s, &v, visible_state);
        half_sweep(&c, &s, &h, &v, grey ? visible_state : 0, inverse_temperature, chain, sweep, 0, 1, 0, 0, 0);
    } else
        read_state(&s, &h, hidden_state);
    for (int done = 1; done <= sweeps; done++) {
        float *out = done == sweeps ? visible_probability + (wide)chain * (unsigned)num_visible : 0;
        half_sweep(&c, &s, &v, &h, 0, inverse_temperature, chain, ++sweep, out, 1, 0, 0, 0);
        out = done == sweeps ? hidden_probability + (wide)chain * (unsigned)num_hidden : 0;
        half_sweep(&c, &s, &h, &v, 0, inverse_temperature, chain, sweep, out, 1, 0, 0, 0);
    }
    write_state(&v, visible_state);
    write_state(&h, hidden_state);
}

/* Draws a layer of all chains. A matrix product has summed the weights before: `product`, (chains,
 * padded units), is the state of the other layer times the rows of this one. Softmax groups are not
 * drawn here. */
ENTRY draw(const int chains, const int num_visible, const int num_hidden, const int of_hidden, const int sweep,
           const int key_0, const int key_1, const int beta_per_chain, const int clamp_per_chain, const float *biases,
           const float *product, const float *beta, const unsigned char *clamp, const float *clamp_value, float *state,
           float *probability)
{
    const struct call c = new_call(num_visible, num_hidden, key_0, key_1, 0, clamp_per_chain, 0, 0, biases, 0);
    const int units = of_hidden ? num_hidden : num_visible, quads = QUADS * words_of(units);
    const wide step = (wide)gridDim.x * blockDim.x, count = (wide)chains * (wide)quads;
    for (wide n = (wide)blockIdx.x * blockDim.x + threadIdx.x; n < count; n += step) {
        const unsigned chain = (unsigned)(n / (wide)quads);
        const int quad = (int)(n % (wide)quads);
        const float *sums = product + (wide)chain * (wide)(words_of(units) * BLOCK);
        float x[4], inverse[4];
        unsigned bits;
        for (int i = 0; i < 4; i++) {
            const int unit = unit_of(quad, i);
            const float sum = (of_hidden ? c.hidden_bias : c.visible_bias)[unit] + sums[unit];
            x[i] = fmaf(beta[beta_per_chain ? chain : 0], sum, of_hidden ? 0.0f : c.base[unit]);
        }
        bits = draw_units(&c, (unsigned)of_hidden, quad, chain, (unsigned)sweep, x, inverse);
        for (int i = 0; i < 4; i++) {
            const int unit = unit_of(quad, i);
            const wide held = (clamp_per_chain > 0 ? (wide)chain * (wide)units : 0) + (wide)unit;
            const wide out = (wide)chain * (wide)units + (wide)unit;
            if (unit >= units)
                continue;
            state[out] = (float)(bits >> place_of(quad, i) & 1);
            probability[out] = 1.0f / inverse[i];
            if (!of_hidden && clamp_per_chain >= 0 && clamp[held])
                state[out] = probability[out] = clamp_value[held];
        }
    }
}

/* Replaces each of `count` values that is neither 0 nor 1 (NaN, too) by a fair coin. The coins have
 * stream 2 of the noise. */
ENTRY redraw(const int count, const int key_0, const int key_1, float *value)
{
    const int step = (int)(gridDim.x * blockDim.x);
    for (int n = (int)(blockIdx.x * blockDim.x + threadIdx.x); n < count; n += step)
        if (value[n] != 0 && value[n] != 1) {
            unsigned noise[4];
            philox((unsigned)n, 0, 0, 2, (unsigned)key_0, (unsigned)key_1, noise);
            value[n] = (float)(noise[0] & 1);
        }
}

/* Returns the sum of the values of all threads to the first thread, and 0 to the others. It adds in
 * the order of threads, so the sum is always rounded in the same way. */
DEVICE double sum_of_threads(const struct shared *s, double value)
{
    double sum = 0;
    s->sums[threadIdx.x] = value;
    __syncthreads();
    for (unsigned i = 0; threadIdx.x == 0 && i < blockDim.x; i++)
        sum += s->sums[i];
    __syncthreads();
    return sum;
}

/* The inner loop of annealed importance sampling. At each step from beta to beta' it adds to
 * `log_weight`, (chains,), in nats,
 *     (beta' - beta) (a - base).v + sum_j [softplus(beta' x_j) - softplus(beta x_j)],
 * with x_j = b_j + (v W)_j. */
ENTRY anneal(const int num_visible, const int num_hidden, const int sweeps, const int first_sweep,
             const int key_0, const int key_1, const int num_betas, const int finish, const int num_groups,
             const int clamp_per_chain, const float *visible_rows, const float *hidden_rows, const float *biases,
             const int *groups, const double *betas, const unsigned char *clamp, const float *clamp_value,
             float *visible, double *log_weight)
{
    DYNAMIC_SHARED(memory);
    const unsigned chain = blockIdx.x;
    const struct call c = new_call(num_visible, num_hidden, key_0, key_1, num_groups, clamp_per_chain,
                                   visible_rows, hidden_rows, biases, groups);
    float *state = visible + (wide)chain * (unsigned)num_visible;
    struct shared s;
    struct layer v, h;
    unsigned sweep = (unsigned)first_sweep;
    double total = 0; /* the sum of this thread */
    lay_out(&c, memory, &s, &v, &h);
    read_conditions(&c, &s, &v, chain, clamp, clamp_value);
    read_state(&s, &v, state);
    for (int n = 1; n < num_betas; n++) {
        /* softplus_step needs beta' >= beta. If beta decreases, the two are swapped, and the result
         * is negated below. */
        const double step = betas[n] - betas[n - 1];
        const float low = (float)(step < 0 ? betas[n] : betas[n - 1]), size = (float)(step < 0 ? -step : step);
        const int sample = n + 1 < num_betas || !finish;
        for (int of_beta = 0; of_beta < (sample ? sweeps : 1); of_beta++, sweep++) {
            double visible_part = 0, hidden_part = 0;
            for (int k = (int)threadIdx.x; !of_beta && k < *s.count; k += (int)blockDim.x)
                visible_part += c.visible_bias[v.list[k]];
            half_sweep(&c, &s, &h, &v, 0, (float)betas[n], chain, sweep, 0, sample, of_beta ? 0 : &hidden_part, low, size);
            total += step * visible_part + (step < 0 ? -hidden_part : hidden_part);
            if (sample)
                half_sweep(&c, &s, &v, &h, 0, (float)betas[n], chain, sweep, 0, 1, 0, 0, 0);
        }
    }
    total = sum_of_threads(&s, total);
    if (threadIdx.x == 0)
        log_weight[chain] += total;
    write_state(&v, state);
}
