/* One half sweep, for one instruction set. gibbs.c includes this file once for each, with
 *
 *     NAME(x)                 x with the instruction set's suffix
 *     BYTES                   size of a vector
 *     MIN, MAX (a, b)         of floats, lane by lane; b where a is NaN
 *     MASK(a)                 sign bits of the 32-bit lanes, lane 0 lowest
 *     MULTIPLY(a, b)          64-bit products of the low halves of 64-bit lanes
 *
 * `fma` is not asked for: the compiler contracts a * b + c where the instruction set has it.
 */

#define LANES (BYTES / 4)
#define VECTORS (BLOCK / LANES) /* of floats, in a block of units */
#define vfloat NAME(vfloat)
#define vint NAME(vint)
#define vuint NAME(vuint)
#define vlong NAME(vlong)

typedef float vfloat __attribute__((vector_size(BYTES), may_alias));
typedef int32_t vint __attribute__((vector_size(BYTES), may_alias));
typedef uint32_t vuint __attribute__((vector_size(BYTES), may_alias));
typedef uint64_t vlong __attribute__((vector_size(BYTES), may_alias));

INLINE vfloat NAME(load)(const float *from) { return *(const vfloat *)from; }

INLINE vfloat NAME(all)(float x) { return x - (vfloat){0}; }

/* e^y = scale (1 + rest), and so e^y - 1 = scale rest + (scale - 1), which is exact where y is small. |rest| < 0.42.
 * y is clamped to where scale is a normal number. Relative error of rest 3e-8 + rounding. */
INLINE vfloat NAME(exponential)(vfloat y, vfloat *scale)
{
    const float round = 12582912.0f; /* 1.5 2^23: adding it rounds to an integer, which then stands in the low bits */
    y = MAX(MIN(y, NAME(all)(88.0f)), NAME(all)(-87.0f));
    vfloat shifted = y * 1.44269504f + round, n = shifted - round;
    vfloat r = (y - n * 0.693359375f) + n * 2.12194440e-4f; /* y - n log 2, in two parts */
    vfloat q = r * 0.00139338837f + 0.00836333539f;
    q = q * r + 0.0416664630f;
    q = q * r + 0.166665763f;
    q = q * r + 0.5f;
    *scale = (vfloat)(((vint)shifted << 23) + 0x3f800000);
    return q * (r * r) + r;
}

INLINE vfloat NAME(exp)(vfloat y)
{
    vfloat scale, rest = NAME(exponential)(y, &scale);
    return scale * rest + scale;
}

/* softplus((beta + step) x) - softplus(beta x), for beta, step >= 0, to the precision of the difference itself:
 *     step max(x, 0) + log1p(t),  t = sigmoid(-beta |x|) expm1(-step |x|) in (-1/2, 0],
 *     log1p(t) = 2 atanh(t / (2 + t)). */
INLINE vfloat NAME(softplus_step)(vfloat x, vfloat beta, vfloat step)
{
    const vfloat zero = {0};
    vfloat size = MAX(x, zero - x), scale;
    vfloat rest = NAME(exponential)(zero - step * size, &scale);
    vfloat numerator = scale * rest + (scale - 1.0f);
    vfloat z = numerator / (2.0f * (1.0f + NAME(exp)(beta * size)) + numerator), s = z * z; /* t / (2 + t) */
    vfloat q = s * 0.134337962f + 0.141169742f;
    q = q * s + 0.200038359f;
    q = q * s + 0.333333194f;
    z = (z * s) * q + z;
    return step * MAX(x, zero) + (z + z);
}

/* Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), a counter in each 64-bit lane: 32 words for the units of a block.
 * Counter (8 block + q, chain, sweep, stream) gives units 2q, 2q + 1 its first two words and 16 + 2q, 17 + 2q the
 * others: then words need no shuffling, and are the same for every size of vector. */
INLINE void NAME(noise)(const vlong key[10][2], uint32_t block, uint32_t chain, uint32_t sweep, uint32_t stream,
                        vint words[VECTORS])
{
    const vlong zero = {0}, multiplier0 = zero + 0xD2511F53u, multiplier1 = zero + 0xCD9E8D57u;
    vlong lane;
    for (int i = 0; i < LANES / 2; i++)
        lane[i] = i;
    for (int half = 0; half < VECTORS / 2; half++) {
        vlong c0 = lane + (uint32_t)(8 * block + half * (LANES / 2)), c1 = zero + chain, c2 = zero + sweep,
              c3 = zero + stream;
        /* The upper halves of the lanes hold rubbish, which MULTIPLY ignores. */
        UNROLL(10)
        for (int round = 0; round < 10; round++) {
            vlong product0 = MULTIPLY(c0, multiplier0), product1 = MULTIPLY(c2, multiplier1);
            c0 = (product1 >> 32) ^ c1 ^ key[round][0];
            c2 = (product0 >> 32) ^ c3 ^ key[round][1];
            c1 = product1;
            c3 = product0;
        }
        words[half] = (vint)((c0 & 0xffffffffu) | (c1 << 32));
        words[half + VECTORS / 2] = (vint)((c2 & 0xffffffffu) | (c3 << 32));
    }
}

INLINE void NAME(key_schedule)(const uint32_t key[2], vlong schedule[10][2])
{
    for (uint32_t round = 0; round < 10; round++) {
        schedule[round][0] = (vlong){0} + (uint32_t)(key[0] + round * 0x9E3779B9u);
        schedule[round][1] = (vlong){0} + (uint32_t)(key[1] + round * 0xBB67AE85u);
    }
}

static void NAME(noise_of_block)(const uint32_t key[2], uint32_t block, uint32_t chain, uint32_t sweep, uint32_t stream,
                                 int32_t *words)
{
    vlong schedule[10][2];
    vint vectors[VECTORS];
    NAME(key_schedule)(key, schedule);
    NAME(noise)(schedule, block, chain, sweep, stream, vectors);
    memcpy(words, vectors, sizeof vectors);
}

/* The method of four Russians: sums += the rows of `panel` whose bit is on in `words`, for `count` chains.
 *
 * The 32 rows of a word fall into groups of 4 (narrow), or of 6, 6, 5, 5, 5, 5. All 2^g subset sums of a group are made
 * once, by one addition each; then every chain adds one of them a group. Tables of 16 KB stay in the first-level cache:
 * 8 x 16 sums of 32 columns, or 256 sums of 16 columns. */
INLINE void NAME(add_tables)(const float *panel, int64_t num_words, const uint32_t *words, int64_t stride,
                             int64_t count, float *sums, float *table, const int columns, const int narrow)
{
    const int groups = narrow ? 8 : 6, vectors = columns / LANES;
#define GROUP_BITS(k) (narrow ? 4 : (k) < 2 ? 6 : 5)
#define GROUP_START(k) (narrow ? 4 * (k) : (k) < 2 ? 6 * (k) : 2 + 5 * (k))
#define GROUP_TABLE(k) (table + columns * (narrow ? 16 * (k) : (k) < 2 ? 64 * (k) : 64 + 32 * (k)))
    for (int64_t w = 0; w < num_words; w++, panel += BLOCK * BLOCK, words += stride) {
        for (int k = 0; k < groups; k++) {
            float *entry = GROUP_TABLE(k);
            for (int i = 0; i < columns; i++)
                entry[i] = 0;
            for (int bit = 0; bit < GROUP_BITS(k); bit++) {
                const float *row = panel + (GROUP_START(k) + bit) * BLOCK;
                vfloat r[BLOCK / LANES];
                for (int v = 0; v < vectors; v++)
                    r[v] = NAME(load)(row + v * LANES);
                for (int s = 0; s < 1 << bit; s++)
                    for (int v = 0; v < vectors; v++)
                        *(vfloat *)(entry + ((1 << bit) + s) * columns + v * LANES) =
                            NAME(load)(entry + s * columns + v * LANES) + r[v];
            }
        }
        for (int64_t c = 0; c < count; c++) {
            const uint32_t word = words[c];
            float *sum = sums + c * BLOCK;
            vfloat total[BLOCK / LANES];
            for (int v = 0; v < vectors; v++)
                total[v] = NAME(load)(sum + v * LANES);
            UNROLL(8)
            for (int k = 0; k < groups; k++) {
                const uint32_t index = (word >> GROUP_START(k)) & ((1u << GROUP_BITS(k)) - 1);
                for (int v = 0; v < vectors; v++)
                    total[v] += NAME(load)(GROUP_TABLE(k) + index * columns + v * LANES);
            }
            for (int v = 0; v < vectors; v++)
                *(vfloat *)(sum + v * LANES) = total[v];
        }
    }
}

/* The same for few chains, for which tables do not pay: row by row. */
INLINE void NAME(add_rows)(const float *panel, int64_t num_words, const uint32_t *words, int64_t stride, int64_t count,
                           float *sums)
{
    for (int64_t c = 0; c < count; c++) {
        vfloat total[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            total[v] = NAME(load)(sums + c * BLOCK + v * LANES);
        for (int64_t w = 0; w < num_words; w++)
            for (uint32_t word = words[w * stride + c]; word; word &= word - 1) {
                const float *row = panel + (w * BLOCK + __builtin_ctz(word)) * BLOCK;
                for (int v = 0; v < VECTORS; v++)
                    total[v] += NAME(load)(row + v * LANES);
            }
        for (int v = 0; v < VECTORS; v++)
            *(vfloat *)(sums + c * BLOCK + v * LANES) = total[v];
    }
}

/* The same for a layer that is grey; it happens once a call. */
INLINE void NAME(add_grey)(const float *panel, int64_t units, const float *state, int64_t count, float *sums)
{
    for (int64_t c = 0; c < count; c++, state += units) {
        vfloat total[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            total[v] = NAME(load)(sums + c * BLOCK + v * LANES);
        for (int64_t i = 0; i < units; i++)
            for (int v = 0; v < VECTORS; v++)
                total[v] += state[i] * NAME(load)(panel + i * BLOCK + v * LANES);
        for (int v = 0; v < VECTORS; v++)
            *(vfloat *)(sums + c * BLOCK + v * LANES) = total[v];
    }
}

/* From the sums of a block's units to their draws, for chains first..first + count. */
INLINE void NAME(sample)(const struct draw *d, const vlong key[10][2], int64_t block, int64_t first, int64_t count,
                         const float *sums)
{
    const struct layer *to = d->to;
    const int64_t units = units_of_word(to, block);
    const int64_t held = block * (to->held_per_chain ? d->chains : 1);
    vfloat base[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        base[v] = NAME(load)(to->base + block * BLOCK + v * LANES);
    for (int64_t c = 0; c < count; c++, sums += BLOCK) {
        const int64_t chain = first + c;
        const vfloat beta = NAME(all)(d->beta[d->beta_per_chain ? chain : 0]);
        vint noise[VECTORS];
        uint32_t word = 0;
        float probability[BLOCK] __attribute__((aligned(64)));
        NAME(noise)(key, block, chain, d->sweep, to->stream, noise);
        for (int v = 0; v < VECTORS; v++) {
            const vfloat x = base[v] + beta * NAME(load)(sums + v * LANES);
            const vfloat inverse = 1.0f + NAME(exp)(-x); /* 1 / p */
            /* On where (k + 1) / p <= 2^24, k = 24 random bits: p is rounded down by less than 2^-24; 0 and 1 are
             * certain, and NaN is off. */
            const vfloat k = __builtin_convertvector((vint)((vuint)noise[v] >> 8), vfloat);
            word |= (uint32_t)MASK(k * inverse + inverse <= 16777216.0f) << (v * LANES);
            if (d->probability)
                *(vfloat *)(probability + v * LANES) = 1.0f / inverse;
        }
        const uint32_t keep = to->keep[held + (to->held_per_chain ? chain : 0)];
        const uint32_t set = to->set[held + (to->held_per_chain ? chain : 0)];
        to->words[block * d->chains + chain] = (word & keep) | set;
        if (d->probability) {
            float *out = d->probability + chain * to->units + block * BLOCK;
            if (keep == ~0u)
                memcpy(out, probability, sizeof probability);
            else
                for (int64_t i = 0; i < units; i++)
                    out[i] = (keep >> i) & 1 ? probability[i] : (float)((set >> i) & 1);
        }
    }
}

/* A block's part of log p*_{beta + step}(v) - log p*_beta(v): its units' differences are taken before they are summed.
 * (Units beyond the last have x = 0, where the difference is exactly 0.) */
INLINE void NAME(weigh)(const struct draw *d, int64_t block, int64_t first, int64_t count, const float *sums)
{
    const vfloat beta = NAME(all)(d->weight_beta), step = NAME(all)(d->weight_step);
    for (int64_t c = 0; c < count; c++, sums += BLOCK) {
        vfloat lanes = {0};
        for (int v = 0; v < VECTORS; v++)
            lanes += NAME(softplus_step)(NAME(load)(sums + v * LANES), beta, step);
        double total = 0;
        for (int i = 0; i < LANES; i++)
            total += lanes[i];
        d->weight[block * d->chains + first + c] = total;
    }
}

/* Draws layer d->to given layer d->from: this thread's share. */
static void NAME(half_sweep)(const struct draw *d, float *sums, float *table)
{
    const struct layer *from = d->from, *to = d->to;
    vlong key[10][2];
    NAME(key_schedule)(d->key, key);
    const int64_t parts = (d->chains + TILE - 1) / TILE * to->num_words;
    for (int64_t part; (part = claim(d->team)) < parts;) {
        const int64_t first = part / to->num_words * TILE, block = part % to->num_words;
        const int64_t count = d->chains - first < TILE ? d->chains - first : TILE;
        const float *panel = to->panels + block * from->num_words * BLOCK * BLOCK;
        for (int64_t c = 0; c < count; c++)
            memcpy(sums + c * BLOCK, to->bias + block * BLOCK, BLOCK * sizeof *sums);
        if (d->grey)
            NAME(add_grey)(panel, from->units, d->grey + first * from->units, count, sums);
        else if (d->chains <= FEW)
            NAME(add_rows)(panel, from->num_words, from->words + first, d->chains, count, sums);
        else if (d->chains < MANY)
            NAME(add_tables)(panel, from->num_words, from->words + first, d->chains, count, sums, table, BLOCK, 1);
        else
            for (int half = 0; half < BLOCK; half += 16)
                NAME(add_tables)(panel + half, from->num_words, from->words + first, d->chains, count, sums + half,
                                 table, 16, 0);
        if (d->weight)
            NAME(weigh)(d, block, first, count, sums);
        if (d->sample && to->group_input)
            keep_group_input(d, block, first, count, sums);
        if (d->sample)
            NAME(sample)(d, (const vlong (*)[2])key, block, first, count, sums);
    }
}

#undef vfloat
#undef vint
#undef vuint
#undef vlong
#undef LANES
#undef VECTORS
#undef GROUP_BITS
#undef GROUP_START
#undef GROUP_TABLE
#undef NAME
#undef BYTES
#undef MIN
#undef MAX
#undef MASK
#undef MULTIPLY
