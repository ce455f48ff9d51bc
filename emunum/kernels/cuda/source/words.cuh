// Words: bit patterns, and IEEE operations that round to nearest and that no compiler may contract.
//
// add.rn and mul.rn of PTX are never fused; a plain + or * might be. Compiled for the host (EMUNUM_HOST), whose
// compiler is told not to contract, they are the plain operators. Everything else here has one meaning in C++.

#ifndef EMUNUM_HOST
#define INLINE __device__ __forceinline__
#define KERNEL __global__ void
#endif

namespace emunum {

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef int i32;
typedef long long i64;

#ifdef EMUNUM_HOST

INLINE float add(float a, float b) { return a + b; }
INLINE float sub(float a, float b) { return a - b; }
INLINE float mul(float a, float b) { return a * b; }
INLINE float div(float a, float b) { return a / b; }
INLINE double add(double a, double b) { return a + b; }
INLINE double sub(double a, double b) { return a - b; }
INLINE double mul(double a, double b) { return a * b; }
INLINE double div(double a, double b) { return a / b; }
INLINE double square_root(double x) { return __builtin_sqrt(x); }

template <class To, class From>
INLINE To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "a bit pattern keeps its size");
    To y;
    __builtin_memcpy(&y, &x, sizeof(To));
    return y;
}
INLINE u32 bits_of(float x) { return same_bits<u32>(x); }
INLINE u64 bits_of(double x) { return same_bits<u64>(x); }
INLINE float float_of(u32 bits) { return same_bits<float>(bits); }
INLINE double float_of(u64 bits) { return same_bits<double>(bits); }

#else

INLINE float add(float a, float b) { return __fadd_rn(a, b); }
INLINE float sub(float a, float b) { return __fsub_rn(a, b); }
INLINE float mul(float a, float b) { return __fmul_rn(a, b); }
INLINE float div(float a, float b) { return __fdiv_rn(a, b); }
INLINE double add(double a, double b) { return __dadd_rn(a, b); }
INLINE double sub(double a, double b) { return __dsub_rn(a, b); }
INLINE double mul(double a, double b) { return __dmul_rn(a, b); }
INLINE double div(double a, double b) { return __ddiv_rn(a, b); }
INLINE double square_root(double x) { return __dsqrt_rn(x); }

INLINE u32 bits_of(float x) { return __float_as_uint(x); }
INLINE u64 bits_of(double x) { return u64(__double_as_longlong(x)); }
INLINE float float_of(u32 bits) { return __uint_as_float(bits); }
INLINE double float_of(u64 bits) { return __longlong_as_double(i64(bits)); }

#endif

// float: sign 1, exponent 8, significand 23. double: sign 1, exponent 11, significand 52.
#define SIGN32 0x80000000u
#define MAGNITUDE32 0x7FFFFFFFu
#define EXPONENT32 0x7F800000u
#define FRACTION32 0x007FFFFFu
#define SIGN64 (1ull << 63)
#define MAGNITUDE64 ((1ull << 63) - 1)
#define EXPONENT64 (0x7FFull << 52)
#define FRACTION64 ((1ull << 52) - 1)

template <class T>
INLINE T larger(T a, T b) { return a > b ? a : b; }
template <class T>
INLINE T smaller(T a, T b) { return a < b ? a : b; }

// x within a bound; NaN stays. One instruction where the device has it.
INLINE float at_most(float x, float bound) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(bound));
    return y;
#else
    return x > bound ? bound : x;
#endif
}
INLINE float at_least(float x, float bound) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(bound));
    return y;
#else
    return x < bound ? bound : x;
#endif
}

INLINE float magnitude_of(float x) { return float_of(bits_of(x) & MAGNITUDE32); }
INLINE double magnitude_of(double x) { return float_of(bits_of(x) & MAGNITUDE64); }
INLINE bool is_negative(float x) { return bits_of(x) > MAGNITUDE32; }
INLINE bool is_negative(double x) { return bits_of(x) > MAGNITUDE64; }
INLINE bool is_nan(float x) { return x != x; }
INLINE bool is_nan(double x) { return x != x; }
INLINE float infinity32() { return float_of(EXPONENT32); }
INLINE double infinity64() { return float_of(EXPONENT64); }
INLINE float nan32() { return float_of(0x7FC00000u); }

// x without its fraction, and the integer below it; a double of 2^52 or more has no fraction.
INLINE double whole_part(double x) {
    if (!(magnitude_of(x) < 4503599627370496.0)) return x;
    return float_of(bits_of(double(i64(x))) | (bits_of(x) & SIGN64));
}
INLINE double floor_of(double x) {
    double whole = whole_part(x);
    return whole > x ? sub(whole, 1.0) : whole;
}

// ------------------------------------------------------------------------------------------------------------
// Error-free operations, and quotients and roots with what they lose: kernels/cpu/rounding/error_free.py says why
// ------------------------------------------------------------------------------------------------------------

template <class T>
struct Pair {
    T x, rest;
};

// Knuth's TwoSum: x = fl(a + b) and the rest, exactly.
template <class T>
INLINE Pair<T> two_sum(T a, T b) {
    T x = add(a, b), b_part = sub(x, a);
    return {x, add(sub(a, sub(x, b_part)), sub(b, b_part))};
}

// Dekker's product of doubles: p = fl(a b) and the rest, exactly.
INLINE Pair<double> two_product(double a, double b) {
    double spread_a = mul(a, 134217729.0), spread_b = mul(b, 134217729.0);  // Veltkamp: halves of 26 bits
    double a_high = sub(spread_a, sub(spread_a, a)), b_high = sub(spread_b, sub(spread_b, b));
    double a_low = sub(a, a_high), b_low = sub(b, b_high), p = mul(a, b);
    double rest = add(add(sub(mul(a_high, b_high), p), mul(a_high, b_low)), mul(a_low, b_high));
    return {p, add(rest, mul(a_low, b_low))};
}

// x + residual modulo a power of two, with the sign of x.
INLINE Pair<double> remainder_of(double x, double residual, double period) {
    Pair<double> near = two_sum(sub(x, mul(period, whole_part(div(x, period)))),
                                sub(residual, mul(period, whole_part(div(residual, period)))));
    double turned = mul(near.x, x) < 0.0 ? (is_negative(x) ? -period : period) : 0.0;
    Pair<double> moved = two_sum(near.x, turned);
    return {moved.x, add(near.rest, moved.rest)};
}

// fl(a / b) and the rest, b of at most 44 significant bits.
INLINE Pair<double> quotient(double a, double b) {
    double q = div(a, b);
    Pair<double> p = two_product(q, b);
    return {q, div(sub(sub(a, p.x), p.rest), b)};
}

// A number near x scale / b and the rest, of at most 53, 48 and 24 significant bits.
INLINE Pair<double> scaled_quotient(double x, double scale, double b) {
    Pair<double> a = two_product(x, scale);
    double q = div(a.x, b);
    Pair<double> p = two_product(q, b);
    double rest = div(add(sub(sub(a.x, p.x), p.rest), a.rest), b);
    double whole = rest != 0.0 ? add(q, rest) : q;
    return {whole, sub(rest, sub(whole, q))};
}

// fl(sqrt(x)) and the rest, for an x that a float holds.
INLINE Pair<double> root(double x) {
    double s = square_root(x);
    Pair<double> p = two_product(s, s);
    return {s, div(sub(sub(x, p.x), p.rest), add(s, s))};
}

}  // namespace emunum
