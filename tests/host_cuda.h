// Lets a host's C++ compiler build the CUDA source, and runs its kernels a thread at a time.

#define EMUNUM_HOST
#define INLINE inline
#define KERNEL void
#define __shared__ static

#include <cstdlib>
#include <tuple>
#include <ucontext.h>
#include <utility>

namespace emunum {

struct Index {
    unsigned x;
};
static Index blockIdx, threadIdx, blockDim, gridDim;

template <class T>
inline void atomicAdd(T* at, T value) { *at += value; }
template <class T>
inline void atomicOr(T* at, T value) { *at |= value; }
template <class T>
inline void atomicMax(T* at, T value) { *at = value > *at ? value : *at; }

// A block's threads are contexts that take turns: each runs up to the barrier, then the next one does.
static ucontext_t turns;
static ucontext_t* contexts;
static bool* finished;
static void (*body)();

inline void __syncthreads() { swapcontext(&contexts[threadIdx.x], &turns); }

static void one_thread() {
    body();
    finished[threadIdx.x] = true;
    swapcontext(&contexts[threadIdx.x], &turns);
}

const unsigned STACK = 1 << 16;

static void run_with_barriers() {
    unsigned threads = blockDim.x;
    char* stacks = (char*)malloc(size_t(threads) * STACK);
    contexts = new ucontext_t[threads];
    finished = new bool[threads];
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
        for (unsigned t = 0; t < threads; t++) {
            finished[t] = false;
            getcontext(&contexts[t]);
            contexts[t].uc_stack.ss_sp = stacks + size_t(t) * STACK;
            contexts[t].uc_stack.ss_size = STACK;
            contexts[t].uc_link = nullptr;
            makecontext(&contexts[t], one_thread, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {
                if (finished[threadIdx.x]) continue;
                swapcontext(&turns, &contexts[threadIdx.x]);
                any = any || !finished[threadIdx.x];
            }
        }
    }
    delete[] contexts;
    delete[] finished;
    free(stacks);
}

template <class... A, std::size_t... N>
inline void call(void (*kernel)(A...), void** arguments, std::index_sequence<N...>) {
    kernel(*(typename std::decay<A>::type*)arguments[N]...);
}

template <class... A>
inline void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

static void** given;

}  // namespace emunum
