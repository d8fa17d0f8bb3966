/* Part of gibbs.c. */

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
    if (g->group_start < 0 || g->group_stop < g->group_start || g->group_stop > g->num_visible)
        return BAD_ARGUMENT;
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
    if (g->group_stop > g->group_start) {
        work->visible.group_start = g->group_start;
        work->visible.group_stop = g->group_stop;
        work->visible.group_input = take(work, g->chains * (g->group_stop - g->group_start), sizeof(float));
        good = good && work->visible.group_input;
    }
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
