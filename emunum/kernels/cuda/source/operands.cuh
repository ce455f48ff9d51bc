// Operands of matrix products: where entry (row, column) of one lies. Patches and their sums are never laid out.
//
// `Value` is the type of an entry. `along_rows` says whether neighbours in memory are neighbours of a column,
// so that threads can read them together. Sizes of what an index is divided by are below 2^31.

namespace emunum {

template <class T>
struct Matrix {
    typedef T Value;
    static const bool along_rows = false;
    T* data;
    i64 row, column;

    INLINE T& at(i32 i, i32 j) const { return data[i * row + j * column]; }
};

template <class M>
struct Transposed {
    typedef typename M::Value Value;
    static const bool along_rows = !M::along_rows;
    M matrix;

    INLINE Value at(i32 i, i32 j) const { return matrix.at(j, i); }
};

template <class T>
struct Ones {
    typedef T Value;
    static const bool along_rows = false;
    i32 unused;

    INLINE T at(i32, i32) const { return T(1); }
};

// What lies under a window: entry (c R + r) S + s at place (n OH + oh) OW + ow, zeros beyond the edges.
struct Window {
    i32 channels, height, width, rows, columns;
    i32 kernel_rows, kernel_columns, row_stride, column_stride, row_padding, column_padding;
};

template <class T>
struct Patches {
    typedef T Value;
    static const bool along_rows = false;
    const T* x;
    Window window;

    INLINE T at(i32 k, i32 place) const {
        const Window& w = window;
        i32 s = k % w.kernel_columns, r = k / w.kernel_columns % w.kernel_rows;
        i32 c = k / (w.kernel_columns * w.kernel_rows);
        i32 ow = place % w.columns, oh = place / w.columns % w.rows, n = place / (w.columns * w.rows);
        i32 i = oh * w.row_stride + r - w.row_padding, j = ow * w.column_stride + s - w.column_padding;
        if (i < 0 || i >= w.height || j < 0 || j >= w.width) return T(0);
        return x[((i64(n) * w.channels + c) * w.height + i) * w.width + j];
    }
};

// Images (N, C, H, W) as a matrix of C rows and N H W columns.
template <class T>
struct Images {
    typedef T Value;
    static const bool along_rows = false;
    T* data;
    i32 channels, per_image;

    INLINE T& at(i32 channel, i32 place) const {
        i32 n = place / per_image;
        return data[(i64(n) * channels + channel) * per_image + (place - n * per_image)];
    }
};

// Row r S + s, column (n, c, h, w): the entry of `terms` (C R S, places) that lies on this pixel, else 0.
template <class T>
struct Spread {
    typedef T Value;
    static const bool along_rows = false;
    const T* terms;
    i64 places;
    Window window;

    INLINE T at(i32 k, i32 index) const {
        const Window& w = window;
        i32 s = k % w.kernel_columns, r = k / w.kernel_columns;
        i32 j = index % w.width + w.column_padding - s, i = index / w.width % w.height + w.row_padding - r;
        i32 c = index / (w.width * w.height) % w.channels, n = index / (w.width * w.height) / w.channels;
        if (i < 0 || j < 0 || i % w.row_stride != 0 || j % w.column_stride != 0) return T(0);
        i32 oh = i / w.row_stride, ow = j / w.column_stride;
        if (oh >= w.rows || ow >= w.columns) return T(0);
        i64 place = (i64(n) * w.rows + oh) * w.columns + ow;
        return terms[((i64(c) * w.kernel_rows + r) * w.kernel_columns + s) * places + place];
    }
};

}  // namespace emunum
