"""Compiled belief propagation on factor graphs whose factors all look at k variables with m values.

Edge e = factor * k + place. Messages ``incoming[e]`` go from the variable to the factor, ``outgoing[e]`` back; each is
a law over m values. A factor j is absent where ``observed[j]`` is negative, else its weights are
``tables[which[j], observed[j]]``, over the m^k settings in ``digits``. The edges of variable i are
``edges[starts[i] : starts[i + 1]]``. A graph is the tuple of k, starts, edges, which, tables, digits and observed.

All loops stand in this one file, which is part of the key under which numba keeps the machine code.
"""

from __future__ import annotations

import math

import numpy as np

from anyorder.tasks.sudoku.jit import entry, inner


@inner
def _pair(table, base, incoming, outgoing):
    """Unnormalised messages of a factor on two variables: the loops of `_any` written out."""
    m = incoming.shape[1]
    s = 0
    for c in range(m):
        for d in range(m):
            weight = table[s]
            s += 1
            if weight != 0.0:
                outgoing[base, c] += weight * incoming[base + 1, d]
                outgoing[base + 1, d] += weight * incoming[base, c]


@inner
def _triple(table, base, incoming, outgoing):
    """The same for three variables."""
    m = incoming.shape[1]
    s = 0
    for c in range(m):
        first = incoming[base, c]
        for d in range(m):
            second = incoming[base + 1, d]
            both, behind = first * second, 0.0
            at_second = 0.0
            for e in range(m):
                weight = table[s]
                s += 1
                if weight != 0.0:
                    third = weight * incoming[base + 2, e]
                    behind += third * second
                    at_second += third * first
                    outgoing[base + 2, e] += weight * both
            outgoing[base, c] += behind
            outgoing[base + 1, d] += at_second


@inner
def _any(k, table, digits, base, incoming, outgoing, left, right):
    """The same for k variables, by products of what stands left and right of each place."""
    for s in range(len(table)):
        if table[s] == 0.0:
            continue
        left[0] = table[s]
        for a in range(k - 1):
            left[a + 1] = left[a] * incoming[base + a, digits[s, a]]
        right[k - 1] = 1.0
        for a in range(k - 1, 0, -1):
            right[a - 1] = right[a] * incoming[base + a, digits[s, a]]
        for a in range(k):
            outgoing[base + a, digits[s, a]] += left[a] * right[a]


@inner
def _from_factors(k, which, observed, tables, digits, active, incoming, outgoing, left, right):
    """Outgoing messages of the active factors; returns how many of them had no possible setting."""
    m = incoming.shape[1]
    failed = 0
    for j in active:
        base = j * k
        for a in range(k):
            for c in range(m):
                outgoing[base + a, c] = 0.0
        table = tables[which[j], observed[j]]
        if k == 2:
            _pair(table, base, incoming, outgoing)
        elif k == 3:
            _triple(table, base, incoming, outgoing)
        else:
            _any(k, table, digits, base, incoming, outgoing, left, right)
        for a in range(k):
            total = 0.0
            for c in range(m):
                total += outgoing[base + a, c]
            if total > 0.0:
                for c in range(m):
                    outgoing[base + a, c] /= total
            else:
                failed += 1
                for c in range(m):
                    outgoing[base + a, c] = 1.0 / m
    return failed


@inner
def _multiply(product, message, target):
    """target = product * message, its largest entry 1; a message that contradicts the product is passed over.

    Returns the divisor, 0 where the message was passed over.
    """
    largest = 0.0
    for c in range(len(product)):
        target[c] = product[c] * message[c]
        largest = max(largest, target[c])
    if largest == 0.0:
        # the product has its largest entry at 1 already, unless it is a prior
        for c in range(len(product)):
            target[c] = product[c]
        return 0.0
    for c in range(len(product)):
        target[c] /= largest  # which may be so small that its reciprocal is infinite
    return largest


@inner
def _from_variables(k, prior, starts, edges, observed, outgoing, incoming, beliefs, damping, ahead, held):
    """Incoming messages and beliefs. Returns the largest change of a message and how many contradictions were met."""
    m = prior.shape[1]
    largest_change = 0.0
    failed = 0
    for i in range(len(starts) - 1):
        # the present edges of the variable
        count = 0
        for place in range(starts[i], starts[i + 1]):
            if observed[edges[place] // k] >= 0:
                held[count] = edges[place]
                count += 1
        # ahead[t] = prior and the first t messages, up to a factor
        for c in range(m):
            ahead[0, c] = prior[i, c]
        for t in range(count):
            if _multiply(ahead[t], outgoing[held[t]], ahead[t + 1]) == 0.0:
                failed += 1
        total = 0.0
        for c in range(m):
            total += ahead[count, c]
        for c in range(m):
            beliefs[i, c] = ahead[count, c] / total
        # the messages behind, from the last one down, are kept in the row that is free by then
        behind = ahead[count]
        for c in range(m):
            behind[c] = 1.0
        for t in range(count - 1, -1, -1):
            edge = held[t]
            both, alone = 0.0, 0.0
            for c in range(m):
                both += ahead[t, c] * behind[c]
                alone += ahead[t, c]
            for c in range(m):
                fresh = ahead[t, c] * behind[c] / both if both > 0.0 else ahead[t, c] / alone
                fresh = (1.0 - damping) * fresh + damping * incoming[edge, c]
                largest_change = max(largest_change, abs(fresh - incoming[edge, c]))
                incoming[edge, c] = fresh
            _multiply(behind, outgoing[edge], behind)
    return largest_change, failed


@inner
def _fielded(k, prior, which, observed, tables, digits, active, incoming, degree, field):
    """The prior times exp(-h): h_c = D (F_c / F - 1), F the chance of a factor under the mean message."""
    m = prior.shape[1]
    mean = np.zeros(m)
    for j in active:
        for a in range(k):
            for c in range(m):
                mean[c] += incoming[j * k + a, c]
    mean /= mean.sum()
    slope = np.zeros(m)
    chance = 0.0
    table = tables[which[active[0]], observed[active[0]]]
    for s in range(len(table)):
        weight = table[s]
        for a in range(k):
            weight *= mean[digits[s, a]]
        chance += weight
        for a in range(k):
            if mean[digits[s, a]] > 0.0:
                slope[digits[s, a]] += weight / mean[digits[s, a]] / k
    for c in range(m):
        factor = math.exp(-degree * (slope[c] / chance - 1.0))
        for i in range(len(prior)):
            field[i, c] = prior[i, c] * factor


@inner
def _widest(starts):
    widest = 0
    for i in range(len(starts) - 1):
        widest = max(widest, starts[i + 1] - starts[i])
    return widest


@entry
def propagate(graph, prior, incoming, conserve, damping, tolerance, most):
    """Iterate from ``incoming`` (changed in place) until no message moves by more than ``tolerance``.

    Returns beliefs (N, m), outgoing messages, the prior with its field, iterations, the last change, failures of the
    last iteration.
    """
    k, starts, edges, which, tables, digits, observed = graph
    m = prior.shape[1]
    active = np.flatnonzero(observed >= 0)
    outgoing = np.full((len(incoming), m), 1.0 / m)
    beliefs = prior.copy()
    field = prior.copy()
    widest = _widest(starts)
    ahead = np.empty((widest + 1, m))
    held = np.empty(widest, np.int64)
    left, right = np.empty(k), np.empty(k)
    degree = k * len(active) / len(prior)
    change, failed, iterations = 0.0, 0, 0
    while iterations < most:
        failed = _from_factors(k, which, observed, tables, digits, active, incoming, outgoing, left, right)
        if conserve and len(active) > 0:
            _fielded(k, prior, which, observed, tables, digits, active, incoming, degree, field)
        change, lost = _from_variables(
            k, field, starts, edges, observed, outgoing, incoming, beliefs, damping, ahead, held
        )
        failed += lost
        iterations += 1
        if change <= tolerance:
            break
    return beliefs, outgoing, field, iterations, change, failed


@entry
def bethe(graph, prior, incoming, outgoing):
    """log Z of the Bethe approximation: sum of log Z_i and of log Z_S, less log Z_iS of the edges."""
    k, starts, edges, which, tables, digits, observed = graph
    m = prior.shape[1]
    total = 0.0
    row = np.empty(m)
    for i in range(len(starts) - 1):
        for c in range(m):
            row[c] = prior[i, c]
        for place in range(starts[i], starts[i + 1]):
            edge = edges[place]
            if observed[edge // k] < 0:
                continue
            scale = _multiply(row, outgoing[edge], row)
            if scale == 0.0:
                return -math.inf
            total += math.log(scale)
        total += math.log(row.sum())
    for j in range(len(observed)):
        if observed[j] < 0:
            continue
        table = tables[which[j], observed[j]]
        z = 0.0
        for s in range(len(table)):
            weight = table[s]
            for a in range(k):
                weight *= incoming[j * k + a, digits[s, a]]
            z += weight
        if z == 0.0:
            return -math.inf
        total += math.log(z)
        for a in range(k):
            z = 0.0
            for c in range(m):
                z += incoming[j * k + a, c] * outgoing[j * k + a, c]
            total -= math.log(z)
    return total


@entry
def rows(scopes, starts, edges, which, tables, digits, latents, observed, prior, damping, tolerance, most):
    """Belief propagation for each row of evidence, from uniform messages.

    ``latents`` (b, N) and ``observed`` (b, P) hold values, -1 where unknown. Returns beliefs (b, N, m), laws of the
    observations (b, P, q), iterations (b,), changes (b,), failures (b,).
    """
    count, variables = latents.shape
    factors, k = scopes.shape
    m, symbols = prior.shape[1], tables.shape[1]
    beliefs = np.empty((count, variables, m))
    laws = np.zeros((count, factors, symbols))
    iterations = np.zeros(count, np.int64)
    changes = np.zeros(count)
    failures = np.zeros(count, np.int64)
    incoming = np.empty((factors * k, m))
    outgoing = np.empty((factors * k, m))
    widest = _widest(starts)
    ahead = np.empty((widest + 1, m))
    held = np.empty(widest, np.int64)
    left, right = np.empty(k), np.empty(k)
    given = np.empty_like(prior)
    for row in range(count):
        for i in range(variables):
            known = latents[row, i]
            for c in range(m):
                given[i, c] = prior[i, c] if known < 0 else (1.0 if known == c else 0.0)
        active = np.flatnonzero(observed[row] >= 0)
        incoming[:] = 1.0 / m
        outgoing[:] = 1.0 / m
        # messages of the prior and of known latents, before anything came back
        change, failed = _from_variables(
            k, given, starts, edges, observed[row], outgoing, incoming, beliefs[row], 0.0, ahead, held
        )
        while len(active) > 0 and iterations[row] < most:
            failed = _from_factors(k, which, observed[row], tables, digits, active, incoming, outgoing, left, right)
            change, lost = _from_variables(
                k, given, starts, edges, observed[row], outgoing, incoming, beliefs[row], damping, ahead, held
            )
            failed += lost
            iterations[row] += 1
            if change <= tolerance:
                break
        changes[row] = change if len(active) > 0 else 0.0
        failures[row] = failed
        for j in range(factors):
            for v in range(symbols):
                table = tables[which[j], v]
                for s in range(len(table)):
                    weight = table[s]
                    for a in range(k):
                        weight *= beliefs[row, scopes[j, a], digits[s, a]]
                    laws[row, j, v] += weight
    return beliefs, laws, iterations, changes, failures
