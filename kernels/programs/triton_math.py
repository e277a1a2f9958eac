"""Elementary functions that Triton lacks, in float64, from exp, log, sqrt, sin and cos alone.

No libdevice call is made, so that the very same code runs under Triton's interpreter. Errors are a few units in the
last place of float64 (of `power`: up to |y log x| of them), far below a float32 rounding: float32 programs widen,
call and round. NaN and infinity behave as in C.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
INVERSE_LN10 = tl.constexpr(0.4342944819032518)
LN10 = tl.constexpr(2.302585092994046)
HALF_PI = tl.constexpr(1.5707963267948966)
LOG2_10 = tl.constexpr(3.321928094887362)
# log10(2) in two parts: the first has 40 bits, so that its product with an exponent is exact.
LOG10_2_HIGH = tl.constexpr(0.301029995664066518656909465789794921875)
LOG10_2_LOW = tl.constexpr(-8.532344317057107e-14)


@triton.jit
def expm1(x):
    u = tl.exp(x)
    # Kahan: the error of u - 1 cancels against that of log(u).
    near = tl.where(u == 1.0, x, (u - 1.0) * x / tl.log(tl.where(u == 1.0, 2.0, u)))
    return tl.where(tl.abs(x) > 0.5, u - 1.0, near)


@triton.jit
def log1p(x):
    u = 1.0 + x
    near = tl.where(u == 1.0, x, tl.log(u) * x / tl.where(u == 1.0, 1.0, u - 1.0))
    return tl.where(tl.abs(x) > 0.5, tl.log(u), near)


@triton.jit
def signed(magnitude, x):
    return tl.where(x < 0.0, -magnitude, magnitude)


@triton.jit
def sinh(x):
    a = tl.abs(x)
    e = expm1(tl.minimum(a, 1.0))
    h = tl.exp(0.5 * a)  # exp(a) itself overflows before sinh does
    return tl.where(a < 1.0, signed(0.5 * (e + e / (e + 1.0)), x), signed(0.5 * h * h - 0.5 / h / h, x))


@triton.jit
def cosh(x):
    h = tl.exp(0.5 * tl.abs(x))
    return 0.5 * h * h + 0.5 / h / h


@triton.jit
def tanh(x):
    e = expm1(-2.0 * tl.abs(x))
    return signed(-e / (e + 2.0), x)


@triton.jit
def arcsinh(x):
    a = tl.abs(x)
    near = log1p(a + a * a / (1.0 + tl.sqrt(1.0 + a * a)))
    return signed(tl.where(a > 1e8, tl.log(a) + LN2, near), x)


@triton.jit
def arccosh(x):
    t = x - 1.0
    near = log1p(tl.where(x < 1.0, -3.0, t + tl.sqrt(tl.abs(t * (t + 2.0)))))  # log1p(-3) is NaN
    return tl.where(x > 1e8, tl.log(x) + LN2, near)


@triton.jit
def arctanh(x):
    a = tl.abs(x)
    return signed(0.5 * log1p(2.0 * a / (1.0 - a)), x)


@triton.jit
def arctan(x):
    a = tl.abs(x)
    r = tl.where(a > 1.0, 1.0 / a, a)
    # Halving the angle three times, tan(t/2) = tan t / (1 + sqrt(1 + tan^2 t)), leaves r < 0.0985; the series then
    # needs eight terms.
    for _ in tl.static_range(3):
        r = r / (1.0 + tl.sqrt(1.0 + r * r))
    s = r * r
    series = 1.0 / 13.0 - s * (1.0 / 15.0 - s * (1.0 / 17.0))
    series = 1.0 / 7.0 - s * (1.0 / 9.0 - s * (1.0 / 11.0 - s * series))
    angle = 8.0 * r * (1.0 - s * (1.0 / 3.0 - s * (1.0 / 5.0 - s * series)))
    return signed(tl.where(a > 1.0, HALF_PI - angle, angle), x)


@triton.jit
def arcsin(x):
    return 2.0 * arctan(x / (1.0 + tl.sqrt((1.0 - x) * (1.0 + x))))


@triton.jit
def arccos(x):
    return 2.0 * arctan(tl.sqrt((1.0 - x) / (1.0 + x)))


@triton.jit
def exp10(x):
    bounded = tl.where(x > 400.0, 400.0, tl.where(x < -400.0, -400.0, x))
    n = tl.floor(bounded * LOG2_10 + 0.5)
    rest = (bounded - n * LOG10_2_HIGH) - n * LOG10_2_LOW
    half = tl.floor(0.5 * n)
    return tl.exp(rest * LN10) * tl.exp2(half) * tl.exp2(n - half)


@triton.jit
def cbrt(x):
    a = tl.abs(x)
    ordinary = (a > 0.0) & (a < float("inf"))
    safe = tl.where(ordinary, a, 1.0)
    y = tl.exp(tl.log(safe) / 3.0)
    y = y - (y - safe / (y * y)) / 3.0  # a Newton step
    return signed(tl.where(ordinary, y, a), x)


@triton.jit
def power(x, y):
    a = tl.abs(x)
    size = tl.where(a == 1.0, 1.0, tl.exp(y * tl.log(a)))
    whole = tl.floor(y) == y
    odd = whole & (2.0 * tl.floor(0.5 * y) != y)
    negative = (x < 0.0) | ((x == 0.0) & (1.0 / x < 0.0))
    result = tl.where(negative & odd, -size, size)
    undefined = (x < 0.0) & (a < float("inf")) & (whole == 0)
    result = tl.where(undefined, tl.log(tl.where(undefined, -1.0, 1.0)), result)
    return tl.where((y == 0.0) | (x == 1.0), 1.0, result)
