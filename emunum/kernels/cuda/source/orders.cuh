// Orders of summation: what emunum/kernels/cpu/matmul.py and orders.py do for a row, here for one output.
//
// A kernel calls begin, then take for k = 0, 1, ..., terms - 1 in this order, then end. `phase` is k modulo 16 or
// a multiple of it, known when the loop around is unrolled: which words of a Philox call a term takes is then
// settled by the compiler. `width` is that of a draw, 16 or 32 bits; `drop` says how many low ones are left.

namespace emunum {

// The draws of a term's product and of the sum that takes it in.
template <int width, bool draws>
struct TermDraws {
    Words words;

    INLINE void call(const Place& at, i32 k, u32 phase) {
        if (draws && phase % (64 / width) == 0) words = at.call(u32(k) / (64 / width), 0);
    }
    INLINE u32 of_product(u32 phase, u32 drop) const {
        return draws ? draw_of(words, 2 * (phase % (64 / width)), width, drop) : 0;
    }
    INLINE u32 of_sum(u32 phase, u32 drop) const {
        return draws ? draw_of(words, 2 * (phase % (64 / width)) + 1, width, drop) : 0;
    }
};

template <class P, class S, int width>
struct Sequential {
    P to_product;
    S to_sum;
    u32 product_drop, drop;

    struct State {
        float sum;
        TermDraws<width, P::draws || S::draws> draws;
    };

    INLINE void begin(State& s) const { s.sum = 0.0f; }
    INLINE void take(State& s, const Place& at, i32 k, u32 phase, float a, float b) const {
        s.draws.call(at, k, phase);
        auto term = product(to_product, a, b, s.draws.of_product(phase, product_drop));
        s.sum = total(to_sum, s.sum, term, s.draws.of_sum(phase, drop));
    }
    INLINE float end(State& s, const Place&, i32) const { return s.sum; }
};

template <class P, class S, class O, int width, int outer_width>
struct Chunked {
    P to_product;
    S to_sum;
    O to_outer;
    i32 chunk;
    u32 product_drop, drop, outer_drop;

    struct State {
        float sum, inner;
        TermDraws<width, P::draws || S::draws> draws;
    };

    INLINE void begin(State& s) const { s.sum = s.inner = 0.0f; }
    INLINE void take(State& s, const Place& at, i32 k, u32 phase, float a, float b) const {
        s.draws.call(at, k, phase);
        auto term = product(to_product, a, b, s.draws.of_product(phase, product_drop));
        s.inner = total(to_sum, s.inner, term, s.draws.of_sum(phase, drop));
        if ((k + 1) % chunk == 0) close(s, at, k / chunk);
    }
    INLINE float end(State& s, const Place& at, i32 terms) const {
        if (terms % chunk != 0) close(s, at, terms / chunk);
        return s.sum;
    }
    INLINE void close(State& s, const Place& at, i32 number) const {
        u32 draw = O::draws ? draw_of(at.call(u32(number), 1), 0, outer_width, outer_drop) : 0;
        s.sum = total(to_outer, s.sum, s.inner, draw);
        s.inner = 0.0f;
    }
};

// waiting[h] holds the sum of 2^h terms that has no neighbour yet.
template <class P, class L, class S, int width>
struct Pairwise {
    P to_product;
    L to_leaf;
    S to_sum;
    u32 product_drop, drop;

    struct State {
        float waiting[32];
        TermDraws<width, P::draws || L::draws> draws;
    };

    INLINE void begin(State&) const {}
    INLINE void take(State& s, const Place& at, i32 k, u32 phase, float a, float b) const {
        s.draws.call(at, k, phase);
        auto term = product(to_product, a, b, s.draws.of_product(phase, product_drop));
        float sum = total(to_leaf, 0.0f, term, s.draws.of_sum(phase, drop));
        u32 height = 0;
        for (; u32(k) >> height & 1; height++) sum = join(s.waiting[height], sum, at, u32(k), height);
        s.waiting[height] = sum;
    }
    INLINE float end(State& s, const Place& at, i32 terms) const {
        float sum = 0.0f;
        bool first = true;
        for (u32 height = 0; height < 31; height++) {
            if (!(u32(terms) >> height & 1)) continue;
            sum = first ? s.waiting[height] : join(s.waiting[height], sum, at, u32(terms), height);
            first = false;
        }
        return sum;
    }
    INLINE float join(float left, float right, const Place& at, u32 last, u32 height) const {
        const u32 per_call = 128 / width;
        u32 draw = S::draws ? draw_of(at.call(last, 1 + height / per_call), height % per_call, width, drop) : 0;
        return total(to_sum, left, right, draw);
    }
};

template <class P, class T, class S, int width>
struct Kahan {
    P to_product;
    T to_term;
    S to_sum;
    u32 product_drop, drop;

    struct State {
        float sum, lost;
        TermDraws<width, P::draws> draws;
        Words words;
    };

    INLINE void begin(State& s) const { s.sum = s.lost = 0.0f; }
    INLINE void take(State& s, const Place& at, i32 k, u32 phase, float a, float b) const {
        const u32 sharing = 32 / width;
        s.draws.call(at, k, phase);
        if (S::draws && phase % sharing == 0) s.words = at.call(u32(k) / sharing, 1);
        auto term = product(to_product, a, b, s.draws.of_product(phase, product_drop));
        float y = total(to_term, -s.lost, term, draw(s, phase, 0));
        float sum = total(to_sum, s.sum, y, draw(s, phase, 1));
        s.lost = total(to_sum, sum, -s.sum, draw(s, phase, 2));
        s.lost = total(to_sum, s.lost, -y, draw(s, phase, 3));
        s.sum = sum;
    }
    INLINE float end(State& s, const Place&, i32) const { return s.sum; }
    INLINE u32 draw(const State& s, u32 phase, u32 which) const {
        return S::draws ? draw_of(s.words, 4 * (phase % (32 / width)) + which, width, drop) : 0;
    }
};

#define MOST_SLICES 32

// All terms added up, rounded once: `magic[n]` cuts the n-th slice off a term, and slices add up exactly.
template <class P, class R, int width>
struct Exact {
    P to_product;
    R to_sum;
    u32 product_drop, drop, zero_down, count;
    double magic[MOST_SLICES];

    struct State {
        double sums[MOST_SLICES], plain;
        u32 negative;
        TermDraws<width, P::draws> draws;
    };

    INLINE void begin(State& s) const {
        for (u32 n = 0; n < count; n++) s.sums[n] = 0.0;
        s.plain = 0.0, s.negative = 0;
    }
    INLINE void take(State& s, const Place& at, i32 k, u32 phase, float a, float b) const {
        s.draws.call(at, k, phase);
        double rest = double(product(to_product, a, b, s.draws.of_product(phase, product_drop)));
        s.plain = add(s.plain, rest);  // only looked at where it is not finite
        s.negative |= is_negative(rest) ? 1 : 0;
        for (u32 n = 0; n < count; n++) {
            double slice = sub(add(rest, magic[n]), magic[n]);
            s.sums[n] = add(s.sums[n], slice);
            rest = sub(rest, slice);
        }
    }
    INLINE float end(State& s, const Place& at, i32) const {
        // 1. Error-free passes, from the last part to the first, until no two overlap.
        for (u32 pass = 0; pass < count; pass++) {
            for (u32 n = count - 1; n > 0; n--) {
                Pair<double> pair = two_sum(s.sums[n - 1], s.sums[n]);
                s.sums[n - 1] = pair.x, s.sums[n] = pair.rest;
            }
        }
        // 2. What is below the first, rounded to odd.
        double low = 0.0, beyond = 0.0;
        for (u32 n = 1; n < count; n++) {
            Pair<double> pair = two_sum(low, s.sums[n]);
            low = pair.x, beyond = beyond == 0.0 ? pair.rest : beyond;
        }
        u64 bits = bits_of(low);
        if (beyond != 0.0 && (bits & 1) == 0) bits += mul(low, beyond) > 0.0 ? 1 : u64(-1);
        // 3. One rounding.
        bool finite = magnitude_of(s.plain) < infinity64();
        double x = finite ? s.sums[0] : s.plain, residual = finite ? float_of(bits) : 0.0;
        x = x == 0.0 && zero_down && s.negative ? -0.0 : x;
        u32 draw = R::draws ? draw_of(at.call(0, 1), 0, width, drop) : 0;
        return float(to_sum.round(x, residual, draw));
    }
};

#define MOST_BLOCK_TERMS 32
#define NOTHING (-3000)

// floor(log2 |x|) of a double that a float holds; far below every sum of two such for zero.
INLINE i32 exponent_of(double x) {
    i32 field = i32(bits_of(x) >> 52 & 0x7FF);
    return field > 0 ? field - 1023 : -6000;
}

// Blocks of `terms` products and the sum so far, aligned, cut and added; promoted every `chunk` terms.
template <class R, class O, int outer_width>
struct TensorCore {
    R to_sum;
    O to_outer;
    i32 terms, fraction_bits, chunk;
    u32 promotes, outer_drop;

    struct State {
        double term[MOST_BLOCK_TERMS];
        float sum, inner;
        i32 top, count;
    };

    INLINE void begin(State& s) const { s.sum = s.inner = 0.0f, s.count = 0; }
    INLINE void take(State& s, const Place& at, i32 k, u32, float a, float b) const {
        if (s.count == 0) s.top = exponent_of(double(s.inner));
        s.top = larger(s.top, exponent_of(double(a)) + exponent_of(double(b)));
        s.term[s.count++] = mul(double(a), double(b));
        i32 position = k % chunk;
        if ((position + 1) % terms == 0 || position + 1 == chunk) block(s);
        if (position + 1 == chunk) close(s, at, k / chunk);
    }
    INLINE float end(State& s, const Place& at, i32 all) const {
        if (s.count > 0) block(s);
        if (all % chunk != 0) close(s, at, all / chunk);
        return s.sum;
    }
    INLINE void block(State& s) const {
        i32 up = s.top > NOTHING ? larger(fraction_bits - s.top, -1000) : 0;
        double scale = float_of(u64(1023 + up) << 52), plain = double(s.inner);
        double sum = whole_part(mul(plain, scale));
        for (i32 n = 0; n < s.count; n++) {
            sum = add(sum, whole_part(mul(s.term[n], scale)));
            plain = add(plain, s.term[n]);  // only looked at where it is not finite
        }
        double exact = add(div(sum, scale), 0.0);
        s.inner = float(to_sum.round(magnitude_of(plain) < infinity64() ? exact : plain, 0.0, 0));
        s.count = 0;
    }
    INLINE void close(State& s, const Place& at, i32 number) const {
        if (promotes) {
            u32 draw = O::draws ? draw_of(at.call(u32(number), 1), 0, outer_width, outer_drop) : 0;
            s.sum = total(to_outer, s.sum, s.inner, draw);
        } else {
            s.sum = s.inner;
        }
        s.inner = 0.0f;
    }
};

// int32 sums that cannot leave their range.
struct WideIntegers {
    struct State {
        i32 sum;
    };

    INLINE void begin(State& s) const { s.sum = 0; }
    INLINE void take(State& s, const Place&, i32, u32, i32 a, i32 b) const { s.sum += a * b; }
    INLINE i32 end(State& s, const Place&, i32) const { return s.sum; }
};

// Sums in -top..top - 1, which saturate or wrap after each addition; *overflows counts those that left it.
struct NarrowIntegers {
    i64 top;
    u64* overflows;
    u32 wraps;

    struct State {
        i64 sum;
        u32 left;
    };

    INLINE void begin(State& s) const { s.sum = 0, s.left = 0; }
    INLINE void take(State& s, const Place&, i32, u32, i32 a, i32 b) const {
        i64 sum = s.sum + i64(a) * b;
        s.left += sum >= top || sum < -top ? 1 : 0;
        s.sum = wraps ? ((sum + top) & (2 * top - 1)) - top : smaller(larger(sum, -top), top - 1);
    }
    INLINE i32 end(State& s, const Place&, i32) const {
        if (s.left) atomicAdd(overflows, u64(s.left));
        return i32(s.sum);
    }
};

}  // namespace emunum
