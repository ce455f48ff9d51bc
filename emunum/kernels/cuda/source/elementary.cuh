// exp and log of a double from IEEE basic operations: kernels/elementary.py, line by line, whose bounds hold here.

namespace emunum {

#define TO_INTEGER 6755399441055744.0   // 1.5 2^52: added and taken away again, it rounds to an integer
#define LN2_HIGH 0x1.62e42fefa38p-1     // ln 2 cut to 42 bits
#define LN2_LOW 0x1.ef35793c7673p-45    // and the rest
#define PER_LN2 0x1.71547652b82fep+0
#define ROOT_HALF_BITS 0x3FE6A09E00000000ull

INLINE double times_plus(double p, double r, double c) { return add(mul(p, r), c); }

// 2^k for an integer k from -1022 to 1023; what NaN gives is never a number.
INLINE double two_to(double k) { return float_of(bits_of(add(k, TO_INTEGER + 1023.0)) << 52); }

INLINE double exp_of(double x) {
    x = x > 750.0 ? 750.0 : x;
    x = x < -750.0 ? -750.0 : x;
    double k = sub(add(mul(x, PER_LN2), TO_INTEGER), TO_INTEGER);
    double high = sub(x, mul(k, LN2_HIGH)), rest = mul(k, LN2_LOW);
    double r = sub(high, rest), low = sub(sub(high, r), rest);
    double p = 0.0;
    double factorial = 6227020800.0;  // 13!
#pragma unroll
    for (int n = 13; n > 1; n--) {
        p = times_plus(p, r, div(1.0, factorial));
        factorial = div(factorial, double(n));
    }
    double t = mul(mul(r, r), p), one_r = add(1.0, r);
    double y = add(one_r, add(sub(r, sub(one_r, 1.0)), add(t, low)));
    double first = sub(add(mul(k, 0.5), TO_INTEGER), TO_INTEGER);
    return mul(mul(y, two_to(first)), two_to(sub(k, first)));
}

// f^2 / 2 as a sum: half the square of f's first 26 bits, exactly, and the rest.
INLINE Pair<double> half_square(double f) {
    double spread = mul(134217729.0, f), head = sub(spread, sub(spread, f));
    return {mul(mul(head, head), 0.5), mul(mul(sub(f, head), add(f, head)), 0.5)};
}

INLINE double log_of(double x) {
    // 1. x = 2^k m, sqrt(1/2) <= m < sqrt(2): the bits of x less those of sqrt(1/2).
    bool small = x < 2.2250738585072014e-308;
    u64 steps = bits_of(small ? mul(x, 18014398509481984.0) : x) - ROOT_HALF_BITS + (1023ull << 52);
    double m = float_of((steps & FRACTION64) + ROOT_HALF_BITS);
    double k = sub(float_of(bits_of(TO_INTEGER) + (steps >> 52)), TO_INTEGER + 1023.0);
    k = small ? sub(k, 54.0) : k;
    // 2. log(1 + f) = f - f^2/2 + s (f^2/2 + R).
    double f = sub(m, 1.0), s = div(f, add(2.0, f)), z = mul(s, s), p = 0.0;
#pragma unroll
    for (int n = 21; n > 1; n -= 2) p = times_plus(p, z, div(2.0, double(n)));
    Pair<double> half = half_square(f);
    double t = mul(s, add(add(half.x, half.rest), mul(z, p)));
    double main = sub(f, half.x), lost = sub(sub(f, main), half.x);
    // 3. With k ln 2, and what the sums lose.
    double multiple = mul(k, LN2_HIGH), y = add(multiple, main), lost_too = sub(main, sub(y, multiple));
    y = add(y, add(lost_too, add(lost, add(sub(t, half.rest), mul(k, LN2_LOW)))));
    y = x == infinity64() ? infinity64() : y;
    y = x == 0.0 ? -infinity64() : y;
    return x >= 0.0 ? y : double(nan32());
}

}  // namespace emunum
