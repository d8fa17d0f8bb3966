/* The words of CUDA for a C compiler: the threads of a block are real threads, __syncthreads is a barrier.
 *
 * Thread blocks run one after the other, in one memory, which is filled with rubbish before each.
 */

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY void
#define DEVICE static inline
#define DYNAMIC_SHARED(name) double *const name = shim_shared
#define UNROLL
#define __ffs __builtin_ffs
#define __popc __builtin_popcount

struct dim {
    unsigned x;
};
typedef struct {
    float x, y;
} float2;

static _Thread_local struct dim threadIdx;
static struct dim blockIdx, blockDim, gridDim; /* of all threads: blocks run one after the other */
static double *shim_shared;
static pthread_barrier_t shim_barrier;

static void __syncthreads(void) { pthread_barrier_wait(&shim_barrier); }

static unsigned atomicOr(unsigned *word, unsigned bits) { return __atomic_fetch_or(word, bits, __ATOMIC_RELAXED); }
