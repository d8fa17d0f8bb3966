/* The kernels of gibbs.cu on a CPU: a library that tests load. `emulate` launches one of them. */

#include "shim.h"

#ifdef SOURCE /* of a test that breaks it */
#include SOURCE
#else
#include "../../gluon_rbm/backend/cuda/gibbs.cu"
#endif

enum { PACK, RUN, DRAW, REDRAW, ANNEAL }; /* as `launch.KERNELS` */

struct thread {
    unsigned number;
    int kernel;
    void **arguments; /* pointers to them, as cuLaunchKernel takes them */
};

#define I(n) *(const int *)a[n]
#define P(n) *(void **)a[n]

static void *in_thread(void *of)
{
    const struct thread *thread = of;
    void **a = thread->arguments;
    threadIdx.x = thread->number;
    if (thread->kernel == PACK)
        pack(I(0), I(1), I(2), P(3), P(4), P(5), P(6), P(7), P(8), P(9));
    else if (thread->kernel == RUN)
        run(I(0), I(1), I(2), I(3), I(4), I(5), I(6), I(7), I(8), I(9), P(10), P(11), P(12), P(13), P(14), P(15), P(16),
            P(17), P(18), P(19), P(20));
    else if (thread->kernel == DRAW)
        draw(I(0), I(1), I(2), I(3), I(4), I(5), I(6), I(7), I(8), P(9), P(10), P(11), P(12), P(13), P(14), P(15));
    else if (thread->kernel == REDRAW)
        redraw(I(0), I(1), I(2), P(3));
    else
        anneal(I(0), I(1), I(2), I(3), I(4), I(5), I(6), I(7), I(8), I(9), P(10), P(11), P(12), P(13), P(14), P(15),
               P(16), P(17), P(18));
    return NULL;
}

/* 0, or -1 where the system gives no thread or no memory. */
int emulate(int kernel, unsigned blocks, unsigned threads, unsigned shared_bytes, void **arguments)
{
    pthread_t *handles = calloc(threads, sizeof *handles);
    struct thread *all = calloc(threads, sizeof *all);
    int failed = !handles || !all;
    gridDim.x = blocks;
    blockDim.x = threads;
    for (unsigned block = 0; block < blocks && !failed; block++) {
        shim_shared = malloc(shared_bytes); /* to the byte, so that a sanitizer sees where it ends */
        failed = !shim_shared;
        if (failed)
            break;
        memset(shim_shared, 0xa5, shared_bytes);
        blockIdx.x = block;
        pthread_barrier_init(&shim_barrier, NULL, threads);
        for (unsigned n = 0; n < threads; n++) {
            all[n] = (struct thread){n, kernel, arguments};
            if (pthread_create(&handles[n], NULL, in_thread, &all[n]))
                abort(); /* the others would wait for it */
        }
        for (unsigned n = 0; n < threads; n++)
            pthread_join(handles[n], NULL);
        pthread_barrier_destroy(&shim_barrier);
        free(shim_shared);
    }
    free(handles);
    free(all);
    return failed ? -1 : 0;
}
