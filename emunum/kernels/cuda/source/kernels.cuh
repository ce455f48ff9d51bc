// The kernels: which thread computes what. What is computed stands in the files before this one.

namespace emunum {

INLINE u64 thread_number() { return u64(blockIdx.x) * blockDim.x + threadIdx.x; }

// ------------------------------------------------------------------------------------------------------------
// Elementwise. Without random bits a thread has an element; with them, a Philox call and the 4 or 8 elements
// that share it, 16 apart: contract/counters.py.
// ------------------------------------------------------------------------------------------------------------

template <bool draws, class Work>
INLINE void for_each_element(u64 size, const Random& random, Work work) {
    u64 number = thread_number();
    if (!draws) {
        if (number < size) work(number, 0u);
        return;
    }
    u32 per_call = 128 / random.width;
    u64 first = number / 16 * 16 * per_call + number % 16;
    if (first >= size) return;
    Words words = philox(u32(number), u32(number >> 32), 0, random.operation, random.key0, random.key1);
    for (u32 n = 0; n < per_call; n++) {
        u64 element = first + 16 * n;
        if (element < size) work(element, draw_of(words, n, random.width, random.drop));
    }
}

template <class To, class X>
KERNEL cast(const X* x, float* out, u64 size, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        out[n] = float(to.round(to.limited(x[n]), typename To::Word(0), draw));
    });
}

// Operands with step 0 are one number.
template <class To>
KERNEL sum(const float* a, u64 a_step, const float* b, u64 b_step, float sign, float* out, u64 size, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        out[n] = total(to, a[n * a_step], mul(sign, b[n * b_step]), draw);
    });
}

template <class To>
KERNEL multiply_each(const float* a, u64 a_step, const float* b, u64 b_step, float* out, u64 size, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        out[n] = float(product(to, a[n * a_step], b[n * b_step], draw));
    });
}

// `p3109`: x / 0 is NaN.
template <class To>
KERNEL divide(const float* a, u64 a_step, const float* b, u64 b_step, float* out, u64 size, u32 p3109, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        float x = a[n * a_step], y = b[n * b_step];
        Pair<double> q = quotient(double(x), double(y));
        float rounded = float(to.round(q.x, q.rest, draw));
        out[n] = p3109 && y == 0.0f && magnitude_of(x) < infinity32() ? nan32() : rounded;
    });
}

template <class To>
KERNEL square_root_each(const float* x, float* out, u64 size, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        Pair<double> s = root(double(x[n]));
        out[n] = float(to.round(s.x, s.rest, draw));
    });
}

template <class To, class X>
KERNEL rescale(const X* x, const double* scale, u64 scale_step, const double* divisor, u64 divisor_step, float* out, u64 size, To to, Random random) {
    for_each_element<To::draws>(size, random, [&](u64 n, u32 draw) {
        Pair<double> q = scaled_quotient(double(x[n]), scale[n * scale_step], divisor[n * divisor_step]);
        out[n] = float(to.round(q.x, q.rest, draw));
    });
}

KERNEL exp_each(const double* x, double* out, u64 size) {
    u64 n = thread_number();
    if (n < size) out[n] = exp_of(x[n]);
}

KERNEL log_each(const double* x, double* out, u64 size) {
    u64 n = thread_number();
    if (n < size) out[n] = log_of(x[n]);
}

#define SPIN_ADDITIONS 64

// Additions that do not depend on each other: what a device issues at most. Their sums keep them from vanishing.
KERNEL spin(float* out, i32 turns) {
    float x[8];
#pragma unroll
    for (int n = 0; n < 8; n++) x[n] = float(threadIdx.x + unsigned(n));
    for (i32 turn = 0; turn < turns; turn++)
#pragma unroll
        for (int n = 0; n < SPIN_ADDITIONS; n++) x[n % 8] = add(x[n % 8], 1.0f);
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < 8; n++) sum = add(sum, x[n]);
    out[thread_number()] = sum;
}

// Four elements of a random mask, 16 apart, for each call: kept where the draw is at least the threshold.
KERNEL keep(u8* out, u64 size, u64 threshold, Random random) {
    for_each_element<true>(size, random, [&](u64 n, u32 draw) { out[n] = u64(draw) >= threshold ? 1 : 0; });
}

template <class T>
KERNEL select(const u8* condition, const T* x, T* out, u64 size) {
    u64 n = thread_number();
    if (n < size) out[n] = condition[n] ? x[n] : T(0);
}

KERNEL philox_each(const u32* counters, const u32* keys, u32* out, u64 size) {
    u64 n = thread_number();
    if (n >= size) return;
    const u32* c = counters + 4 * n;
    Words words = philox(c[0], c[1], c[2], c[3], keys[2 * n], keys[2 * n + 1]);
    out[4 * n] = words.w0, out[4 * n + 1] = words.w1, out[4 * n + 2] = words.w2, out[4 * n + 3] = words.w3;
}

// ------------------------------------------------------------------------------------------------------------
// Codes
// ------------------------------------------------------------------------------------------------------------

struct CodeLayout {
    u32 sign, mantissa_bits, rebias;
    float quantum;
    u32 counted;
    float counted_value;
    u32 least_code;
    float zero, zero_sign;
    u32 max_code, infinity, nan, stored;

    INLINE float value_of(u32 code) const {
        u32 negative = code & sign, magnitude = code & ~sign;
        float normal = float_of((magnitude << (23 - mantissa_bits)) + rebias);
        float value = magnitude < counted ? mul(float(i32(magnitude)), quantum) : normal;
        value = magnitude < least_code ? zero : value;
        value = magnitude <= max_code ? value : nan32();
        value = magnitude == infinity ? infinity32() : value;
        value = code == nan ? nan32() : value;
        return add(negative ? -value : value, zero_sign);
    }
    INLINE u32 code_of(float x) const {
        u32 bits = bits_of(x), magnitude = bits & MAGNITUDE32;
        u32 normal = (magnitude - rebias) >> (23 - mantissa_bits);
        float value = float_of(magnitude);
        u32 code = value < counted_value ? u32(i32(div(value, quantum))) : normal;
        code = magnitude == EXPONENT32 ? infinity : code;
        code |= bits >= SIGN32 ? sign : 0;
        return magnitude > EXPONENT32 ? nan : code;
    }
};

// *strangers counts the values that have no code.
template <class C>
KERNEL encode(const float* x, C* out, u64 size, CodeLayout layout, u32* strangers) {
    u64 n = thread_number();
    if (n >= size) return;
    u32 bits = bits_of(x[n]), code = layout.code_of(x[n]);
    out[n] = C(code);
    bool same = bits_of(layout.value_of(code & layout.stored)) == bits;
    bool has_code = (bits & MAGNITUDE32) > EXPONENT32 ? layout.nan != 0xFFFFFFFFu : same;
    if (!has_code) atomicAdd(strangers, 1u);
}

template <class C>
KERNEL decode(const C* codes, float* out, u64 size, CodeLayout layout) {
    u64 n = thread_number();
    if (n < size) out[n] = layout.value_of(u32(codes[n]));
}

// found[3 index..] = (significand bits or'ed, 255 less the least, the greatest exponent field) of the finite nonzero
// numbers, where zeros were.
KERNEL measure(const float* x, u64 size, u32* found, u32 index) {
    __shared__ u32 part[3];
    if (threadIdx.x == 0) part[0] = part[1] = part[2] = 0;
    __syncthreads();
    u32 fractions = 0, least = 255, greatest = 0;
    for (u64 n = thread_number(); n < size; n += u64(gridDim.x) * blockDim.x) {
        u32 magnitude = bits_of(x[n]) & MAGNITUDE32;
        if (magnitude == 0 || magnitude >= EXPONENT32) continue;
        u32 field = larger(magnitude >> 23, 1u);
        fractions |= magnitude & FRACTION32, least = smaller(least, field), greatest = larger(greatest, field);
    }
    atomicOr(&part[0], fractions);
    atomicMax(&part[1], 255 - least);
    atomicMax(&part[2], greatest);
    __syncthreads();
    if (threadIdx.x != 0) return;
    atomicOr(&found[3 * index], part[0]);
    atomicMax(&found[3 * index + 1], part[1]);
    atomicMax(&found[3 * index + 2], part[2]);
}

// ------------------------------------------------------------------------------------------------------------
// Matrix products
// ------------------------------------------------------------------------------------------------------------

INLINE float with_zero(float x, float zero) { return add(x, zero); }
INLINE i32 with_zero(i32 x, float) { return x; }

#define SIDE 16  // threads of a block, each way

// out[i, j] = the sum over k of left[i, k] right[k, j], in the order that `order` is. A thread has `tile` x `tile`
// outputs; k is never split. Blocks of `slab` terms pass through shared memory, the next one being
// read while this one is computed with. `zero` is +0 where the format of the sum has no -0, else -0.
template <class Order, class Left, class Right, class Target, int tile, int slab>
KERNEL multiply(Order order, Left left, Right right, Target out, i32 rows, i32 columns, i32 terms, Place origin, float zero) {
    typedef typename Left::Value A;
    typedef typename Right::Value B;
    const int side = SIDE * tile, share = slab * side / (SIDE * SIDE);
    __shared__ A a[slab][side + 1];
    __shared__ B b[slab][side + 1];
    const i32 thread = i32(threadIdx.x), x = thread % SIDE, y = thread / SIDE;
    const i32 across = (columns + side - 1) / side;
    const i32 row = i32(blockIdx.x) / across * side, column = i32(blockIdx.x) % across * side;

    typename Order::State state[tile][tile];
#pragma unroll
    for (int m = 0; m < tile; m++)
#pragma unroll
        for (int n = 0; n < tile; n++) order.begin(state[m][n]);

    A next_a[share];
    B next_b[share];
    // Entry e = thread + 256 n of a slab: neighbours in memory go to neighbouring threads.
    auto place_of = [&](int n, bool by_terms, i32& term, i32& line) {
        i32 e = thread + n * SIDE * SIDE;
        term = by_terms ? e % slab : e / side, line = by_terms ? e / slab : e % side;
    };
    auto read = [&](i32 from) {
#pragma unroll
        for (int n = 0; n < share; n++) {
            i32 term, line;
            place_of(n, !Left::along_rows, term, line);
            bool inside = from + term < terms && row + line < rows;
            next_a[n] = inside ? A(left.at(row + line, from + term)) : A(0);
            place_of(n, Right::along_rows, term, line);
            inside = from + term < terms && column + line < columns;
            next_b[n] = inside ? B(right.at(from + term, column + line)) : B(0);
        }
    };

    read(0);
    for (i32 from = 0; from < terms; from += slab) {
#pragma unroll
        for (int n = 0; n < share; n++) {
            i32 term, line;
            place_of(n, !Left::along_rows, term, line);
            a[term][line] = next_a[n];
            place_of(n, Right::along_rows, term, line);
            b[term][line] = next_b[n];
        }
        __syncthreads();
        if (from + slab < terms) read(from + slab);
#pragma unroll
        for (int k = 0; k < slab; k++) {
            if (from + k >= terms) break;
#pragma unroll
            for (int m = 0; m < tile; m++)
#pragma unroll
                for (int n = 0; n < tile; n++) {
                    Place at = {origin.column + u32(column + x + SIDE * n), origin.row + u32(row + y + SIDE * m),
                                origin.operation, origin.key0, origin.key1};
                    order.take(state[m][n], at, from + k, u32(k), a[k][y + SIDE * m], b[k][x + SIDE * n]);
                }
        }
        __syncthreads();
    }

#pragma unroll
    for (int m = 0; m < tile; m++)
#pragma unroll
        for (int n = 0; n < tile; n++) {
            i32 i = row + y + SIDE * m, j = column + x + SIDE * n;
            if (i >= rows || j >= columns) continue;
            Place at = {origin.column + u32(j), origin.row + u32(i), origin.operation, origin.key0, origin.key1};
            out.at(i, j) = with_zero(order.end(state[m][n], at, terms), zero);
        }
}

// Round a row-major matrix in place to the format of the result, each entry with a draw of its own.
template <class To>
KERNEL round_result(float* out, i32 rows, i32 columns, To to, u32 width, u32 drop, Place origin) {
    u64 n = thread_number();
    if (n >= u64(rows) * u64(columns)) return;
    Place at = {origin.column + u32(n % u64(columns)), origin.row + u32(n / u64(columns)), origin.operation,
                origin.key0, origin.key1};
    u32 draw = To::draws ? draw_of(at.call(0xFFFFFFFFu, 0), 0, width, drop) : 0;
    out[n] = float(to.round(to.limited(out[n]), typename To::Word(0), draw));
}

// ------------------------------------------------------------------------------------------------------------
// Pooling: x (planes, H, W), y (planes, OH, OW); nothing is rounded
// ------------------------------------------------------------------------------------------------------------

// The first of the largest numbers of each window, and its number r S + s there; a NaN before every number.
template <class T, class N>
KERNEL max_pool(const T* x, T* y, N* winners, u64 size, Window w) {
    u64 number = thread_number();
    if (number >= size) return;
    i32 ow = i32(number % u64(w.columns)), oh = i32(number / u64(w.columns) % u64(w.rows));
    const T* plane = x + number / (u64(w.columns) * u64(w.rows)) * u64(w.height) * u64(w.width);
    T top = T(0);
    i32 winner = -1;
    for (i32 r = 0; r < w.kernel_rows; r++) {
        i32 i = oh * w.row_stride + r - w.row_padding;
        if (i < 0 || i >= w.height) continue;
        for (i32 s = 0; s < w.kernel_columns; s++) {
            i32 j = ow * w.column_stride + s - w.column_padding;
            if (j < 0 || j >= w.width) continue;
            T value = plane[i64(i) * w.width + j];
            bool wins = winner < 0 || value > top || (value != value && top == top);
            top = wins ? value : top, winner = wins ? r * w.kernel_columns + s : winner;
        }
    }
    y[number] = top, winners[number] = N(winner);
}

// Row r S + s of out (R S, planes, OH, OW): number (r, s) of every window, 0 where it is padding.
template <class T>
KERNEL window_terms(const T* x, T* out, u64 size, Window w) {
    u64 number = thread_number();
    if (number >= size) return;
    u64 windows = size / (u64(w.kernel_rows) * u64(w.kernel_columns)), at = number % windows;
    i32 k = i32(number / windows), r = k / w.kernel_columns, s = k % w.kernel_columns;
    i32 i = i32(at / u64(w.columns) % u64(w.rows)) * w.row_stride + r - w.row_padding;
    i32 j = i32(at % u64(w.columns)) * w.column_stride + s - w.column_padding;
    bool inside = i >= 0 && i < w.height && j >= 0 && j < w.width;
    u64 plane = at / (u64(w.columns) * u64(w.rows));
    out[number] = inside ? x[(plane * u64(w.height) + u64(i)) * u64(w.width) + u64(j)] : T(0);
}

// dy (planes, OH, OW) to the pixels it comes from, out (T, planes, H, W), zeros so far: to every pixel under the
// window, or to its winner alone. Row t of out has the t-th window that covers a pixel, in index order: no two
// threads write to one place.
template <class T, class N, bool to_winners>
KERNEL pixel_terms(const T* dy, const N* winners, T* out, u64 size, u64 plane_numbers, Window w) {
    u64 number = thread_number();
    if (number >= size) return;
    i32 ow = i32(number % u64(w.columns)), oh = i32(number / u64(w.columns) % u64(w.rows));
    u64 plane = number / (u64(w.columns) * u64(w.rows));
    i32 slots_down = (w.kernel_rows + w.row_stride - 1) / w.row_stride;
    i32 slots_right = (w.kernel_columns + w.column_stride - 1) / w.column_stride;
    i32 taps = w.kernel_rows * w.kernel_columns;
    i32 first = to_winners ? i32(winners[number]) : 0, last = to_winners ? first + 1 : taps;
    for (i32 k = first; k < last; k++) {
        i32 r = k / w.kernel_columns, s = k % w.kernel_columns;
        i32 i = oh * w.row_stride + r - w.row_padding, j = ow * w.column_stride + s - w.column_padding;
        if (i < 0 || i >= w.height || j < 0 || j >= w.width) continue;
        i32 slot = (slots_down - 1 - r / w.row_stride) * slots_right + slots_right - 1 - s / w.column_stride;
        out[u64(slot) * plane_numbers + (plane * u64(w.height) + u64(i)) * u64(w.width) + u64(j)] = dy[number];
    }
}

}  // namespace emunum

using namespace emunum;  // so that the types in the name of a kernel are found
