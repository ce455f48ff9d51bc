// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) and the draws of a call: the layout of contract/counters.py.

namespace emunum {

struct Words {
    u32 w0, w1, w2, w3;
};

INLINE Words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int n = 0; n < 10; n++) {
        u64 product_0 = u64(0xD2511F53u) * c0, product_1 = u64(0xCD9E8D57u) * c2;  // one instruction each
        c0 = u32(product_1 >> 32) ^ c1 ^ k0, c1 = u32(product_1);
        c2 = u32(product_0 >> 32) ^ c3 ^ k1, c3 = u32(product_0);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

// The words are picked, not indexed: an array with a runtime index would leave the registers.
INLINE u32 word_of(const Words& words, u32 index) {
    u32 low = index & 1 ? words.w1 : words.w0, high = index & 1 ? words.w3 : words.w2;
    return index & 2 ? high : low;
}

// R: the top width - drop bits of draw `index`.
INLINE u32 draw_of(const Words& words, u32 index, u32 width, u32 drop) {
    if (width == 16) return (word_of(words, index >> 1) >> (16 * (index & 1)) & 0xFFFFu) >> drop;
    return word_of(words, index) >> drop;
}

// What random bits an elementwise operation draws.
struct Random {
    u32 width, drop, operation, key0, key1;
};

// Where an output of a matrix product draws: its column and row in the whole problem.
struct Place {
    u32 column, row, operation, key0, key1;

    INLINE Words call(u32 block, u32 level) const {
        return philox(column, row, block, operation + 256 * level, key0, key1);
    }
};

}  // namespace emunum
