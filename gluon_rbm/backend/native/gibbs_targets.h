/* The kernel for each instruction set, and which of them the CPU at hand has. Part of gibbs.c. */

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
