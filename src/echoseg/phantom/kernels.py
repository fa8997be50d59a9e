"""The inner loops, compiled by numba: scatter, blur, compose, scan-convert, fill.

Fields are [beam, range], float32; a complex field is two of them.
"""

import math

import numpy as np

from echoseg.errors import EchosegError

try:
    from numba import njit
except ModuleNotFoundError as error:
    raise EchosegError(
        "the phantom needs numba: pip install 'echoseg[phantom]', or 'echoseg[train]' for training"
    ) from error


@njit(cache=True, nogil=True, fastmath=True)
def splat(
    vertex_x,
    vertex_y,
    corner,
    stride,
    part_u,
    part_v,
    weight,
    covered,
    label,
    grid,
    real,
    imaginary,
):
    """Add every scatterer to its four nearest grid points, at the phase of its depth.

    A scatterer sits in a quad of four moving vertices, so it moves with the tissue. `grid` is
    (wave number 1/mm, first range mm, range step mm, first angle, angle step). Scatterers that are
    `covered` are left out where `label` is not 0.
    """
    num_beams, num_ranges = real.shape
    wave, r0, dr, th0, dth = grid[0], grid[1], grid[2], grid[3], grid[4]
    for k in range(corner.shape[0]):
        b, s, u, v = corner[k], stride[k], part_u[k], part_v[k]
        w00 = (1 - u) * (1 - v)
        w10 = u * (1 - v)
        w01 = (1 - u) * v
        w11 = u * v
        x = (
            vertex_x[b] * w00
            + vertex_x[b + s] * w10
            + vertex_x[b + 1] * w01
            + vertex_x[b + s + 1] * w11
        )
        y = (
            vertex_y[b] * w00
            + vertex_y[b + s] * w10
            + vertex_y[b + 1] * w01
            + vertex_y[b + s + 1] * w11
        )
        if y <= 0.5:
            continue
        r = math.sqrt(x * x + y * y)
        at_r = (r - r0) / dr
        at_b = (math.atan2(x, y) - th0) / dth
        if at_r < 0 or at_b < 0 or at_r >= num_ranges - 1 or at_b >= num_beams - 1:
            continue
        ir, ib = int(at_r), int(at_b)
        if covered[k] and label[ib, ir] != 0:
            continue
        phase = wave * r
        c, q = weight[k] * math.cos(phase), -weight[k] * math.sin(phase)
        er, eb = at_r - ir, at_b - ib
        m00 = (1 - eb) * (1 - er)
        m01 = (1 - eb) * er
        m10 = eb * (1 - er)
        m11 = eb * er
        real[ib, ir] += c * m00
        real[ib, ir + 1] += c * m01
        real[ib + 1, ir] += c * m10
        real[ib + 1, ir + 1] += c * m11
        imaginary[ib, ir] += q * m00
        imaginary[ib, ir + 1] += q * m01
        imaginary[ib + 1, ir] += q * m10
        imaginary[ib + 1, ir + 1] += q * m11


@njit(cache=True, nogil=True, fastmath=True)
def blur(field, axial, lateral, buffer, out):
    """Convolve with the point spread function: `axial` [K], then `lateral` [half + 1, range]."""
    num_beams, num_ranges = field.shape
    half_a, half_l = axial.shape[0] // 2, lateral.shape[0] - 1
    for b in range(num_beams):
        row = buffer[b]
        source = field[b]
        for r in range(num_ranges):
            row[r] = axial[half_a] * source[r]
        for k in range(1, half_a + 1):
            t = axial[half_a + k]
            for r in range(num_ranges - k):
                row[r] += t * source[r + k]
            for r in range(k, num_ranges):
                row[r] += t * source[r - k]
    for b in range(num_beams):
        target = out[b]
        middle = buffer[b]
        for r in range(num_ranges):
            target[r] = lateral[0, r] * middle[r]
        for h in range(1, half_l + 1):
            if b >= h and b + h < num_beams:
                low, high = buffer[b - h], buffer[b + h]
                for r in range(num_ranges):
                    target[r] += lateral[h, r] * (low[r] + high[r])
            elif b >= h:
                low = buffer[b - h]
                for r in range(num_ranges):
                    target[r] += lateral[h, r] * low[r]
            elif b + h < num_beams:
                high = buffer[b + h]
                for r in range(num_ranges):
                    target[r] += lateral[h, r] * high[r]


@njit(cache=True, nogil=True, fastmath=True)
def mix(bank, first, second, shifts, weights, memory, state):
    """Draw a new noise field: two fields of a bank, turned along the beams, over a faded last one.

    `bank` [N, 2, beam, range]; `weights` (of first, of second); `state` [2, beam, range] holds the
    last field and gets the new one: `memory` of the old and the rest of the new power.
    """
    num_beams, num_ranges = state.shape[1], state.shape[2]
    fresh = math.sqrt(1 - memory * memory)
    wa, wb = np.float32(weights[0] * fresh), np.float32(weights[1] * fresh)
    old = np.float32(memory)
    for part in range(2):
        for b in range(num_beams):
            row_a = bank[first, part, (b + shifts[0]) % num_beams]
            row_b = bank[second, part, (b + shifts[1]) % num_beams]
            target = state[part, b]
            for r in range(num_ranges):
                target[r] = old * target[r] + wa * row_a[r] + wb * row_b[r]


@njit(cache=True, nogil=True, fastmath=True)
def compose(
    tissue,
    gain,
    echo,
    noise,
    noise_level,
    static,
    static_level,
    loss,
    compression,
    table,
    weight,
    last,
    out,
):
    """Sum the fields, weaken by shadows, add clutter and noise, compress to grey levels.

    `tissue`, `noise`, `static` are [2, beam, range]; `gain` [range] brings tissue to unit power;
    `echo` (steps, amplitude) is a copy that arrives later; `loss` and the levels are amplitudes
    [beam, range]; `compression` is (steps of the table a dB, dB at its start).
    """
    num_beams, num_ranges = out.shape
    late, part = int(echo[0]), np.float32(echo[1])
    last_index = table.shape[0] - 1
    per_db, start = np.float32(compression[0]), np.float32(compression[1])
    scale = np.float32(10.0 / math.log(10.0))
    for b in range(num_beams):
        for r in range(num_ranges):
            g = gain[r]
            x = tissue[0, b, r] * g
            y = tissue[1, b, r] * g
            if r >= late:
                h = gain[r - late] * part
                x += tissue[0, b, r - late] * h
                y += tissue[1, b, r - late] * h
            f = loss[b, r]
            n = noise_level[b, r]
            c = static_level[b, r]
            x = x * f + n * noise[0, b, r] + c * static[0, b, r]
            y = y * f + n * noise[1, b, r] + c * static[1, b, r]
            decibel = scale * math.log(x * x + y * y + np.float32(1e-9))
            at = (decibel - start) * per_db
            at = min(max(at, np.float32(0)), np.float32(last_index))
            v = table[int(at)]
            v = weight * last[b, r] + (1 - weight) * v
            last[b, r] = v
            out[b, r] = v


@njit(cache=True, nogil=True, fastmath=True)
def scan_convert(polar, corner, weights, pixel, out):
    """Write the grey levels of a polar field into the pixels of a picture, bilinear."""
    num_ranges = polar.shape[1]
    flat, target = polar.ravel(), out.ravel()
    for k in range(pixel.shape[0]):
        i = corner[k]
        v = flat[i] * weights[k, 0] + flat[i + 1] * weights[k, 1]
        v += flat[i + num_ranges] * weights[k, 2] + flat[i + num_ranges + 1] * weights[k, 3]
        target[pixel[k]] = np.uint8(min(255.0, max(0.0, v + 0.5)))


@njit(cache=True, nogil=True)
def fill(first, second, value, out):
    """Set the cells inside a polygon, given in index units of both axes, by scan lines."""
    count = first.shape[0]
    crossings = np.empty(64)
    low = max(0, int(math.ceil(first.min())))
    high = min(out.shape[0] - 1, int(math.floor(first.max())))
    for i in range(low, high + 1):
        num_crossings = 0
        for k in range(count):
            k2 = k + 1 if k + 1 < count else 0
            a, b = first[k], first[k2]
            if (a <= i) != (b <= i) and num_crossings < 64:
                crossings[num_crossings] = second[k] + (i - a) / (b - a) * (second[k2] - second[k])
                num_crossings += 1
        inside = np.sort(crossings[:num_crossings])
        for p in range(0, num_crossings - 1, 2):
            j0 = max(0, int(math.ceil(inside[p])))
            j1 = min(out.shape[1] - 1, int(math.floor(inside[p + 1])))
            for j in range(j0, j1 + 1):
                out[i, j] = value


@njit(cache=True, nogil=True, fastmath=True)
def lee(field, noise, out):
    """Lee's filter over 3 beams x 5 ranges; `noise` is the speckle's standard deviation."""
    num_beams, num_ranges = field.shape
    power = noise * noise
    for b in range(num_beams):
        for r in range(num_ranges):
            total, square, count = np.float32(0), np.float32(0), np.float32(0)
            for i in range(max(0, b - 1), min(num_beams, b + 2)):
                for j in range(max(0, r - 2), min(num_ranges, r + 3)):
                    v = field[i, j]
                    total += v
                    square += v * v
                    count += 1
            mean = total / count
            spread = max(square / count - mean * mean, np.float32(0))
            out[b, r] = mean + spread / (spread + power) * (field[b, r] - mean)


@njit(cache=True, nogil=True)
def median(field, out):
    """Median of 3 ranges, then of 3 beams."""
    num_beams, num_ranges = field.shape
    for b in range(num_beams):
        out[b, 0], out[b, num_ranges - 1] = field[b, 0], field[b, num_ranges - 1]
        for r in range(1, num_ranges - 1):
            x, y, z = field[b, r - 1], field[b, r], field[b, r + 1]
            out[b, r] = max(min(x, y), min(max(x, y), z))
    above = out[0].copy()
    for b in range(1, num_beams - 1):
        for r in range(num_ranges):
            x, y, z = above[r], out[b, r], out[b + 1, r]
            above[r] = y
            out[b, r] = max(min(x, y), min(max(x, y), z))


@njit(cache=True, nogil=True, fastmath=True)
def sharpen(field, amount, out):
    """Unsharp mask: add what a mean over 3 beams x 5 ranges takes away, `amount` times two."""
    num_beams, num_ranges = field.shape
    gain = np.float32(2) * amount
    for b in range(num_beams):
        for r in range(num_ranges):
            total, count = np.float32(0), np.float32(0)
            for i in range(max(0, b - 1), min(num_beams, b + 2)):
                for j in range(max(0, r - 2), min(num_ranges, r + 3)):
                    total += field[i, j]
                    count += 1
            v = field[b, r] + gain * (field[b, r] - total / count)
            out[b, r] = min(max(v, np.float32(0)), np.float32(255))
