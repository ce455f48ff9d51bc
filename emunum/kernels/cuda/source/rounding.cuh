// One value, rounded once: what emunum/kernels/cpu/rounding/ does, and for the same reasons, which it tells.
//
// Every class is a lowered cast of contract/lowered.py, its fields in the same order. `Word` is the type it works
// in, `draws` says whether it is stochastic, `limited` takes an element of an array to that type, and
// round(x, residual, draw) rounds the exact real x + residual to a float of the format.

namespace emunum {

// ------------------------------------------------------------------------------------------------------------
// Nearest even in a handful of instructions
// ------------------------------------------------------------------------------------------------------------

template <class T>
struct Unrounded {
    typedef T Word;
    static const bool draws = false;
    T max;

    INLINE T limited(T x) const { return x; }
    INLINE T round(T x, T, u32) const { return x; }
};

INLINE float signed_magic(float x, u32 floor, u32 offset) {
    float magic = float_of(larger(bits_of(x) & EXPONENT32, floor) + offset);
    return sub(add(x, magic), magic);
}

struct MagicNearest {
    typedef float Word;
    static const bool draws = false;
    float max, overflow;
    u32 floor, offset;
    float input_limit;

    INLINE float limited(float x) const {
        float upper = input_limit < x ? input_limit : x;
        return -input_limit > upper ? -input_limit : upper;
    }
    INLINE float round(float x, float, u32) const {
        u32 bits = bits_of(x);
        float magic = float_of(larger(bits & EXPONENT32, floor) + offset);
        float rounded = sub(add(float_of(bits & MAGNITUDE32), magic), magic);
        rounded = rounded > max ? overflow : rounded;
        return float_of(bits_of(rounded) | (bits & SIGN32));
    }
};

struct MagicClamped {
    typedef float Word;
    static const bool draws = false;
    float max;
    u32 floor, offset;

    INLINE float limited(float x) const { return x; }
    INLINE float round(float x, float, u32) const {
        float rounded = signed_magic(x, floor, offset);
        return at_least(at_most(rounded, max), -max);
    }
};

struct MagicScaled {
    typedef float Word;
    static const bool draws = false;
    float up, down;
    u32 floor, offset;

    INLINE float limited(float x) const { return x; }
    INLINE float round(float x, float, u32) const { return mul(mul(signed_magic(x, floor, offset), up), down); }
};

struct BitsNearest {
    typedef float Word;
    static const bool draws = false;
    float max, overflow;
    u32 shift, half;

    INLINE float limited(float x) const { return x; }
    INLINE float round(float x, float, u32) const {
        u32 bits = bits_of(x), magnitude = bits & MAGNITUDE32;
        u32 word = magnitude + half + (magnitude >> shift & 1);
        float rounded = float_of(word >> shift << shift);
        rounded = rounded > max ? overflow : rounded;
        rounded = float_of(bits_of(rounded) | (bits & SIGN32));
        return magnitude > EXPONENT32 ? x : rounded;
    }
};

// ------------------------------------------------------------------------------------------------------------
// The other modes on the bits of a float, lifted above 2^emin. `Cut` says what becomes of the tail
// ------------------------------------------------------------------------------------------------------------

template <bool lossy, class Cut>
struct Offset {
    typedef float Word;
    static const bool draws = Cut::random;
    float max, overflow, smallest_normal;
    Cut cut;

    INLINE float limited(float x) const { return x; }
    INLINE float round(float x, float residual, u32 draw) const { return rounded<false>(x, residual, draw); }

    // `exact`: there is no residual.
    template <bool exact>
    INLINE float rounded(float x, float residual, u32 draw) const {
        u32 bits = bits_of(x);
        float magnitude = float_of(bits & MAGNITUDE32);
        float rest = exact ? 0.0f : float_of(bits_of(residual) ^ (bits & SIGN32));
        bool lifts = magnitude < smallest_normal;
        if (lossy) lifts = lifts || (magnitude == smallest_normal && rest < 0.0f);
        float offset = lifts ? smallest_normal : 0.0f, lifted = add(magnitude, offset);
        if (lossy) {
            float loss = sub(magnitude, sub(lifted, offset));
            rest = loss != 0.0f ? loss : rest;
        }
        u32 below = rest < 0.0f ? 1 : 0;
        float y = sub(float_of(cut.apply(bits_of(lifted) - below, rest, below, bits, draw)), offset);
        y = y > max ? overflow : y;
        y = float_of(bits_of(y) | (bits & SIGN32));
        return magnitude <= infinity32() ? y : x;
    }
};

struct ByTable {
    static const bool random = false;
    u32 shift, table;

    INLINE u32 apply(u32 word, float rest, u32 below, u32 bits, u32) const {
        u32 half = shift - 1, upper = word >> half & 3, lower = word & ((1u << half) - 1);
        u32 tail = lower != 0 || below || rest > 0.0f ? 1 : 0;
        u32 index = tail | upper << 1 | bits >> 31 << 3;
        return ((word >> shift) + (table >> index & 1)) << shift;
    }
};

struct ByDraw {
    static const bool random = true;
    u32 kept, lift;

    INLINE u32 apply(u32 word, float, u32, u32, u32 draw) const { return (word + (draw << lift)) & kept; }
};

struct ByLots {
    static const bool random = true;
    u32 shift, up, down;
    float scale;
    u32 random_bits, spare, addend, sticky;

    INLINE u32 apply(u32 word, float rest, u32 below, u32, u32 draw) const {
        // 1. The rest in units of the last guard bit.
        float inverse = float_of((254u << 23) - (word & EXPONENT32)), scaled = mul(mul(rest, inverse), scale);
        scaled = magnitude_of(scaled) < 1073741824.0f ? scaled : 0.0f;  // NaN beside an infinity
        i32 whole = i32(scaled);
        whole -= float(whole) > scaled ? 1 : 0;
        // 2. The guard bits: those of the word, then those of the rest.
        u32 guard = ((word & ((1u << shift) - 1)) << up) + (u32(whole) + (below << up));
        u32 bits = guard >> down;
        bool lost = bits << down != guard || float(whole) != scaled;
        // 3. The spare ones are rounded away as the variant does, then R carries at 2^N.
        u32 last = bits | (lost ? sticky : 0), odd = last >> spare & sticky;
        u32 tail = (last + addend + odd) >> spare;
        return ((word >> shift) + ((tail + draw) >> random_bits)) << shift;
    }
};

template <bool lossy>
using OffsetDeterministic = Offset<lossy, ByTable>;
template <bool lossy>
using OffsetStochastic = Offset<lossy, ByDraw>;
template <bool lossy>
using OffsetLots = Offset<lossy, ByLots>;

// ------------------------------------------------------------------------------------------------------------
// Every mode in integers. `Mode` decides on quanta and guard bits
// ------------------------------------------------------------------------------------------------------------

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
    typedef u32 Type;
};
template <>
struct BitsOf<double> {
    typedef u64 Type;
};

template <class W>
struct LookUp {
    static const bool random = false;
    W guard, parity, table;

    INLINE W decide(W cut, bool lost, bool negative, W above, u32) const {
        W quanta = cut >> guard, tail = (cut | W(lost)) & 3;
        W odd = quanta & 1 & ~(above & parity);  // with parity, S = 1 is odd in every other binade
        return quanta + (table >> (tail | odd << 2 | W(negative) << 3) & 1);
    }
};

template <class W>
struct DrawLots {
    static const bool random = true;
    W guard, spare, addend, sticky;

    INLINE W decide(W cut, bool lost, bool, W, u32 draw) const {
        W bits = cut | (W(lost) & sticky), odd = bits >> spare & sticky & 1;
        return (((bits + addend + odd) >> spare) + draw) >> (guard - spare);
    }
};

template <class T, template <class> class Mode>
struct InWord;

template <template <class> class Mode>
struct InWord<float, Mode> {
    typedef float Word;
    static const bool draws = Mode<u32>::random;
    float max, overflow, unit;
    u32 floor, shift;
    Mode<u32> mode;

    INLINE float limited(float x) const { return x; }
    INLINE float round(float x, float, u32 draw) const {
        u32 bits = bits_of(x), magnitude = bits & MAGNITUDE32, field = magnitude >> 23;
        u32 exponent = larger(field, 1u);
        u32 word = ((magnitude & FRACTION32) | (field > 0 ? FRACTION32 + 1 : 0)) << 7;
        u32 scale = larger(exponent, floor), dropped = smaller(shift + (scale - exponent), 31u);
        u32 cut = word >> dropped;
        u32 quanta = mode.decide(cut, cut << dropped != word, bits > MAGNITUDE32, scale - floor, draw);
        float rounded = mul(mul(float(i32(quanta)), unit), float_of(scale << 23));
        rounded = rounded > max ? overflow : rounded;
        rounded = magnitude == EXPONENT32 ? overflow : rounded;
        rounded = float_of(bits_of(rounded) | (bits & SIGN32));
        return magnitude > EXPONENT32 ? x : rounded;
    }
};

template <template <class> class Mode>
struct InWord<double, Mode> {
    typedef double Word;
    static const bool draws = Mode<u64>::random;
    double max, overflow, unit;
    u64 floor, shift;
    Mode<u64> mode;

    INLINE double limited(double x) const { return x; }
    INLINE float round(double x, double residual, u32 draw) const {
        u64 bits = bits_of(x), magnitude = bits & MAGNITUDE64, field = magnitude >> 52;
        u64 exponent = larger(field, u64(1));
        u64 word = ((magnitude & FRACTION64) | (field > 0 ? FRACTION64 + 1 : 0)) << 10;
        // The residual, in units of the word's last bit: floor() goes into the word, the rest is remembered.
        double extra = mul(residual, float_of(((2108 - exponent) & 0x7FF) << 52));
        extra = bits > MAGNITUDE64 ? -extra : extra;
        extra = magnitude_of(extra) <= 1024.0 ? extra : 0.0;
        i64 whole = i64(extra);
        whole -= double(whole) > extra ? 1 : 0;
        word = u64(i64(word) + whole);
        // Where it takes a power of two below itself, the sum is in the lower binade.
        bool below = whole < 0 && word < (1ull << 62) && field > 1;
        exponent -= below ? 1 : 0;
        word <<= below ? 1 : 0;
        u64 scale = larger(exponent, floor), dropped = smaller(shift + (scale - exponent), u64(63));
        u64 cut = word >> dropped;
        bool lost = cut << dropped != word || double(whole) != extra;
        u64 quanta = mode.decide(cut, lost, bits > MAGNITUDE64, scale - floor, draw);
        double rounded = mul(mul(double(i64(quanta)), unit), float_of(scale << 52));
        rounded = rounded > max ? overflow : rounded;
        rounded = magnitude == EXPONENT64 ? overflow : rounded;
        rounded = float_of(bits_of(rounded) | (bits & SIGN64));
        return float(magnitude > EXPONENT64 ? x : rounded);
    }
};

template <class T>
using WordDeterministic = InWord<T, LookUp>;
template <class T>
using WordStochastic = InWord<T, DrawLots>;

// ------------------------------------------------------------------------------------------------------------
// Layers: what a cast asks for beyond a rounder
// ------------------------------------------------------------------------------------------------------------

template <class R>
struct Layer {
    typedef typename R::Word Word;
    static const bool draws = R::draws;
    R rounder;

    template <class X>
    INLINE Word limited(X x) const { return rounder.limited(x); }
    INLINE float inner(Word x, Word residual, u32 draw) const { return float(rounder.round(x, residual, draw)); }
};

template <class R>
struct Flushed : Layer<R> {
    float smallest_normal;

    INLINE float round(typename R::Word x, typename R::Word residual, u32 draw) const {
        float rounded = this->inner(x, residual, draw);
        return magnitude_of(rounded) < smallest_normal ? mul(rounded, 0.0f) : rounded;
    }
};

template <class R>
struct Wrapped : Layer<R> {
    double period;

    INLINE float round(double x, double residual, u32 draw) const {
        Pair<double> near = remainder_of(x, residual, period);
        double rounded = this->inner(near.x, near.rest, draw);
        double turns = floor_of(div(add(rounded, mul(period, 0.5)), period));
        return float(sub(rounded, mul(period, turns)));
    }
};

template <class R>
struct Ranged : Layer<R> {
    float max, min, overflow, negative_overflow, infinity, negative_infinity;

    INLINE float round(typename R::Word x, typename R::Word residual, u32 draw) const {
        float rounded = this->inner(x, residual, draw);
        float bounded = rounded > max ? overflow : rounded;
        bounded = rounded < min ? negative_overflow : bounded;
        bounded = x == infinity32() ? infinity : bounded;
        return x == -infinity32() ? negative_infinity : bounded;
    }
};

template <class R>
struct OneZero : Layer<R> {
    INLINE float round(typename R::Word x, typename R::Word residual, u32 draw) const {
        return add(this->inner(x, residual, draw), 0.0f);
    }
};

// What these two add is for sums alone.
template <class R>
struct TwoSum : Layer<R> {
    INLINE float round(typename R::Word x, typename R::Word residual, u32 draw) const {
        return this->inner(x, residual, draw);
    }
};

template <class R>
struct ZeroDown : Layer<R> {
    INLINE float round(typename R::Word x, typename R::Word residual, u32 draw) const {
        return this->inner(x, residual, draw);
    }
};

// ------------------------------------------------------------------------------------------------------------
// round(a b) and round(a + b); b may be an exact product, a double
// ------------------------------------------------------------------------------------------------------------

template <class R>
INLINE auto round_exact(const R& to, typename R::Word x, u32 draw) {
    return to.round(x, typename R::Word(0), draw);
}

template <bool lossy, class Cut>
INLINE float round_exact(const Offset<lossy, Cut>& to, float x, u32 draw) {
    return to.template rounded<!lossy>(x, 0.0f, draw);
}

template <class R>
INLINE auto product(const R& to, float a, float b, u32 draw) {
    typedef typename R::Word T;
    return round_exact(to, mul(T(a), T(b)), draw);
}

template <class R, class B>
INLINE float total(const R& to, float a, B b, u32 draw) {
    static_assert(sizeof(B) == sizeof(float) && sizeof(typename R::Word) == sizeof(float), "sums without a residual");
    return round_exact(to, add(a, b), draw);
}

template <class R, class B>
INLINE float total(const TwoSum<R>& to, float a, B b, u32 draw) {
    typedef typename R::Word T;
    Pair<T> sum = two_sum(T(a), T(b));
    return to.inner(sum.x, sum.rest, draw);
}

template <class R, class B>
INLINE float total(const OneZero<R>& to, float a, B b, u32 draw) {
    return add(total(to.rounder, a, b, draw), 0.0f);
}

// Toward -Inf an exact zero sum is -0 unless both terms are +0 (IEEE 754-2019, 6.3).
template <class R, class B>
INLINE float total(const ZeroDown<R>& to, float a, B b, u32 draw) {
    float rounded = total(to.rounder, a, b, draw), either = is_negative(a) || is_negative(b) ? -0.0f : 0.0f;
    return a == -b && magnitude_of(a) < infinity32() ? either : rounded;
}

}  // namespace emunum
