/* What follows the affine map of a hidden layer, in one pass over memory:
 * bias, layer normalisation (Ba et al. 2016) with gain and shift, SiLU or ReLU, dropout.
 *
 * Plain C on pointers, vectorised by the compiler; compiled once for each instruction set. A row is
 * read into float32, so bf16 rows are computed as float32 ones and rounded once. Random bytes are
 * Philox 4x32-10 (Salmon et al. 2011) with the seed as key and the element's index as counter: the
 * backward pass draws them again, and they depend neither on threads nor on the instruction set.
 *
 * Shapes: G groups, B rows of a group, O columns.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SILU = 0, RELU = 1, BF16 = 2, NORM = 4 }; /* bits of `kind` */
enum { CHUNK = 128 };    /* rows whose sums are added up before those of other chunks */
enum { DRAWN = 2048 };   /* bytes that are drawn at once, at least those of a row */
static const float EPS = 1e-5f;
/* Largest |x| of exp. Read at run time: known to the compiler, it computes both sides of the limit,
 * one of them with slow subnormal numbers. */
static volatile float LIMIT = 87.0f;

typedef struct {
    int64_t first, groups, total; /* groups to compute, of G */
    int64_t rows, width, kind, dropped; /* of 256 values of a byte, how many drop */
    uint64_t layer;                             /* distinguishes layers under one seed */
    const uint64_t *seed;
    const float *bias, *gain, *shift; /* (G, O); gain and shift only with NORM */
    const void *z;                    /* products without bias; a group and a row are strided */
    int64_t z_group, z_row;
    float *mean, *rstd; /* (G, B) */
    void *out;          /* activations; in backward, the gradient of z */
    int64_t out_group, out_row;
    const void *grad; /* backward: the gradient of the activations */
    int64_t grad_group, grad_row;
    float *sums; /* backward: (3, G, chunks, O) gradients of bias, gain and shift */
} Layer;

/* Hash of this file, see `source_hash` in library.py */
uint32_t recsys_source(void) { return RECSYS_SOURCE; }

#ifdef __x86_64__
/* 0: baseline, 1: AVX2 with FMA, 2: AVX-512 */
int recsys_level(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}
#else
int recsys_level(void) { return 0; }
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE void philox(uint32_t *restrict words, uint64_t first, int64_t blocks, uint32_t group,
                   uint32_t layer, uint64_t seed) {
#pragma omp simd
    for (int64_t i = 0; i < blocks; i++) {
        uint64_t index = first + (uint64_t)i;
        uint32_t a = (uint32_t)index, b = (uint32_t)(index >> 32), c = group, d = layer;
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
            uint32_t next = (uint32_t)(q >> 32) ^ b ^ k0;
            c = (uint32_t)(p >> 32) ^ d ^ k1;
            b = (uint32_t)q;
            d = (uint32_t)p;
            a = next;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        words[4 * i] = a;
        words[4 * i + 1] = b;
        words[4 * i + 2] = c;
        words[4 * i + 3] = d;
    }
}

/* exp by 2^n times a polynomial (Cephes), within 2 units in the last place; NaN stays NaN */
INLINE float exponential(float x, float limit) {
    x = x < -limit ? -limit : x;
    x = x > limit ? limit : x;
    float n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t i;
        float f;
    } scale = {.i = ((int32_t)n + 127) << 23};
    return p * scale.f;
}

INLINE float sigmoid(float x, float limit) { return 1.0f / (1.0f + exponential(-x, limit)); }

INLINE const float *load(const void *base, int64_t offset, int64_t width, int bf16, float *room) {
    if (!bf16) return (const float *)base + offset;
    const uint16_t *half = (const uint16_t *)base + offset;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        union {
            uint32_t i;
            float f;
        } value = {.i = (uint32_t)half[j] << 16};
        room[j] = value.f;
    }
    return room;
}

INLINE void store(void *base, int64_t offset, int64_t width, const float *room) {
    uint16_t *half = (uint16_t *)base + offset;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        union {
            float f;
            uint32_t i;
        } value = {.f = room[j]};
        uint32_t even = (value.i + 0x7fffu + ((value.i >> 16) & 1u)) >> 16;
        half[j] = (uint16_t)(room[j] != room[j] ? 0x7fc0u : even);
    }
}

/* Random bytes of rows, drawn for several rows at once. */
typedef struct {
    uint8_t *bytes;
    int64_t first, end, stride, most;
} Drawn;

INLINE const uint8_t *drawn(Drawn *own, const Layer *l, int64_t group, int64_t row) {
    if (row < own->first || row >= own->end) {
        own->first = row;
        own->end = row + own->most < l->rows ? row + own->most : l->rows;
        int64_t blocks = own->stride / 16;
        philox((uint32_t *)own->bytes, (uint64_t)(row * blocks), (own->end - row) * blocks,
               (uint32_t)group, (uint32_t)l->layer, *l->seed);
    }
    return own->bytes + (row - own->first) * own->stride;
}

/* x = z + bias; its mean and 1 / standard deviation */
INLINE void normalise(const float *z, const float *bias, float *x, int64_t width, float *mean,
                      float *rstd) {
    float total = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < width; j++) {
        x[j] = z[j] + bias[j];
        total += x[j];
    }
    float m = total / (float)width;
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < width; j++) squares += (x[j] - m) * (x[j] - m);
    *mean = m;
    *rstd = 1.0f / sqrtf(squares / (float)width + EPS);
}

INLINE void forward_rows(const Layer *l, int64_t g, int64_t from, int64_t to, float *room,
                         Drawn *random, int relu, int norm, int drop, int bf16) {
    int64_t n = l->width;
    const float *restrict bias = l->bias + g * n;
    const float *restrict gain = norm ? l->gain + g * n : NULL;
    const float *restrict shift = norm ? l->shift + g * n : NULL;
    float *restrict x = room, *half = room + n;
    float kept = 256.0f / (float)(256 - l->dropped), limit = LIMIT;
    for (int64_t r = from; r < to; r++) {
        const float *restrict z = load(l->z, g * l->z_group + r * l->z_row, n, bf16, half);
        int64_t offset = g * l->out_group + r * l->out_row;
        float *restrict out = bf16 ? half : (float *)l->out + offset;
        const uint8_t *restrict bytes = drop ? drawn(random, l, g, r) : NULL;
        float m = 0.0f, s = 1.0f;
        if (norm) {
            normalise(z, bias, x, n, &m, &s);
            l->mean[g * l->rows + r] = m;
            l->rstd[g * l->rows + r] = s;
        }
        uint8_t dropped = (uint8_t)l->dropped;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            float y = norm ? (x[j] - m) * s * gain[j] + shift[j] : z[j] + bias[j];
            float a = relu ? (y < 0.0f ? 0.0f : y) : y * sigmoid(y, limit);
            if (drop) a *= bytes[j] >= dropped ? kept : 0.0f;
            out[j] = a;
        }
        if (bf16) store(l->out, offset, n, out);
    }
}

INLINE void backward_rows(const Layer *l, int64_t g, int64_t from, int64_t to, float *room,
                          Drawn *random, float *sums, int relu, int norm, int drop, int bf16) {
    int64_t n = l->width;
    const float *restrict bias = l->bias + g * n;
    const float *restrict gain = norm ? l->gain + g * n : NULL;
    const float *restrict shift = norm ? l->shift + g * n : NULL;
    int64_t part = l->total * ((l->rows + CHUNK - 1) / CHUNK) * n;
    float *restrict of_bias = sums, *restrict of_gain = sums + part;
    float *restrict of_shift = sums + 2 * part;
    float *restrict hat = room, *restrict at = room + n, *own_z = room + 2 * n;
    float *own_grad = room + 3 * n;
    float kept = 256.0f / (float)(256 - l->dropped), limit = LIMIT;
    for (int i = 0; i < (norm ? 3 : 1); i++) memset(sums + i * part, 0, (size_t)n * sizeof(float));
    for (int64_t r = from; r < to; r++) {
        const float *restrict z = load(l->z, g * l->z_group + r * l->z_row, n, bf16, own_z);
        const float *restrict up =
            load(l->grad, g * l->grad_group + r * l->grad_row, n, bf16, own_grad);
        int64_t offset = g * l->out_group + r * l->out_row;
        float *restrict out = bf16 ? own_z : (float *)l->out + offset;
        const uint8_t *restrict bytes = drop ? drawn(random, l, g, r) : NULL;
        float m = norm ? l->mean[g * l->rows + r] : 0.0f;
        float s = norm ? l->rstd[g * l->rows + r] : 1.0f;
        float first = 0.0f, second = 0.0f;
        uint8_t dropped = (uint8_t)l->dropped;
#pragma omp simd reduction(+ : first, second)
        for (int64_t j = 0; j < n; j++) {
            float x = norm ? (z[j] + bias[j] - m) * s : z[j] + bias[j];
            float y = norm ? x * gain[j] + shift[j] : x;
            float slope;
            if (relu) {
                slope = y <= 0.0f ? 0.0f : 1.0f;
            } else {
                float p = sigmoid(y, limit);
                slope = p * (1.0f + y * (1.0f - p));
            }
            float d = up[j] * slope;
            if (drop) d *= bytes[j] >= dropped ? kept : 0.0f;
            if (norm) {
                of_shift[j] += d;
                of_gain[j] += d * x;
                d *= gain[j];
                hat[j] = x;
                at[j] = d;
                first += d;
                second += d * x;
            } else {
                of_bias[j] += d;
                out[j] = d;
            }
        }
        if (norm) {
            first /= (float)n;
            second /= (float)n;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                float d = s * (at[j] - first - hat[j] * second);
                of_bias[j] += d;
                out[j] = d;
            }
        }
        if (bf16) store(l->out, offset, n, out);
    }
}

#define EACH(rows_of, ...)                                       \
    switch (l->kind) {                                           \
    case SILU: rows_of(__VA_ARGS__, 0, 0, drop, 0); break;           \
    case RELU: rows_of(__VA_ARGS__, 1, 0, drop, 0); break;           \
    case SILU | NORM: rows_of(__VA_ARGS__, 0, 1, drop, 0); break;    \
    case RELU | NORM: rows_of(__VA_ARGS__, 1, 1, drop, 0); break;    \
    case SILU | BF16: rows_of(__VA_ARGS__, 0, 0, drop, 1); break;    \
    case RELU | BF16: rows_of(__VA_ARGS__, 1, 0, drop, 1); break;    \
    case SILU | BF16 | NORM: rows_of(__VA_ARGS__, 0, 1, drop, 1); break; \
    case RELU | BF16 | NORM: rows_of(__VA_ARGS__, 1, 1, drop, 1); break; \
    }

/* The chunks of all groups, those of this thread: every `threads`-th. */
static int run(const Layer *l, int64_t thread, int64_t threads) {
    int64_t n = l->width, chunks = (l->rows + CHUNK - 1) / CHUNK;
    int64_t stride = (n + 15) / 16 * 16, most = DRAWN / stride > 0 ? DRAWN / stride : 1;
    float *room = malloc((size_t)(4 * n) * sizeof(float) + (size_t)(most * stride));
    if (room == NULL) return 1;
    for (int64_t c = thread; c < l->groups * chunks; c += threads) {
        int64_t g = l->first + c / chunks, from = c % chunks * CHUNK;
        int64_t to = from + CHUNK < l->rows ? from + CHUNK : l->rows;
        Drawn random = {(uint8_t *)(room + 4 * n), 0, 0, stride, most};
        if (l->grad == NULL) {
            if (l->dropped) {
                const int drop = 1;
                EACH(forward_rows, l, g, from, to, room, &random)
            } else {
                const int drop = 0;
                EACH(forward_rows, l, g, from, to, room, &random)
            }
        } else {
            float *sums = l->sums + (l->first * chunks + c) * n;
            if (l->dropped) {
                const int drop = 1;
                EACH(backward_rows, l, g, from, to, room, &random, sums)
            } else {
                const int drop = 0;
                EACH(backward_rows, l, g, from, to, room, &random, sums)
            }
        }
    }
    free(room);
    return 0;
}

typedef struct {
    const Layer *layer;
    int64_t threads;
    int64_t next;
    int failed;
} Team;

static void work(void *data) {
    Team *team = data;
    int64_t thread = __atomic_fetch_add(&team->next, 1, __ATOMIC_RELAXED);
    /* Fewer threads may come than were asked for. */
    for (; thread < team->threads; thread = __atomic_fetch_add(&team->next, 1, __ATOMIC_RELAXED))
        if (run(team->layer, thread, team->threads)) team->failed = 1;
}

/* `parallel`: GOMP_parallel of the OpenMP that torch has loaded, or NULL; 1: out of memory */
int recsys_hidden(const Layer *layer, int64_t threads,
                  void (*parallel)(void (*)(void *), void *, unsigned, unsigned)) {
    Team team = {layer, threads, 0, 0};
    if (parallel != NULL && threads > 1)
        parallel(work, &team, (unsigned)threads, 0);
    else
        work(&team);
    return team.failed;
}
