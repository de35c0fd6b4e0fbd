import CAttentionKernels
import Foundation
import TestSupport
import Testing

@Suite struct `Kernels of the way back through attention` {
    private static let shapes: [(rows: Int, columns: Int, depth: Int)] = [
        (1, 1, 1), (2, 3, 5), (7, 16, 3), (13, 17, 9), (6, 33, 65), (5, 47, 64), (3, 63, 130), (11, 64, 7), (9, 67, 0),
        (23, 130, 17), (4, 31, 2),
    ]

    private enum Derivative: CaseIterable {
        case product
        case squaredDistance
        case absoluteDistance

        func value<Real: BinaryFloatingPoint>(_ a: Real, _ b: Real) -> Real {
            switch self {
            case .product: b
            case .squaredDistance: a - b
            case .absoluteDistance: a > b ? 1 : a < b ? -1 : 0
            }
        }

        func run(
            _ kernels: sattn_kernels, _ out: PaddedMatrix, _ gradient: [Float], _ rowStep: Int, _ depthStep: Int,
            _ a: PaddedMatrix, _ b: PaddedMatrix, firstRow: Int = 0, firstColumn: Int = 0
        ) throws {
            let left = try #require(a.pointer) + firstRow * a.stride + firstColumn
            let right = try #require(b.pointer) + firstColumn
            let (rows, columns, depth) = (out.rows, out.columns, b.rows)
            gradient.withUnsafeBufferPointer { gradient in
                guard let start = gradient.baseAddress.map({ $0 + firstRow * rowStep }) else { return }
                switch self {
                case .product:
                    kernels.product_gradient(
                        out.pointer, out.stride, start, rowStep, depthStep, right, b.stride, rows, columns, depth)
                case .squaredDistance:
                    kernels.squared_distance_gradient(
                        out.pointer, out.stride, start, rowStep, depthStep, left, a.stride, right, b.stride, rows,
                        columns, depth)
                case .absoluteDistance:
                    kernels.absolute_distance_gradient(
                        out.pointer, out.stride, start, rowStep, depthStep, left, a.stride, right, b.stride, rows,
                        columns, depth)
                }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `add up derivatives by rows and by columns, an element by its own row and column`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 71)
        for derivative in Derivative.allCases {
            for (rows, columns, depth) in Self.shapes {
                for isTransposed in [false, true] {
                    let (rowStep, depthStep) = isTransposed ? (1, rows + 2) : (depth + 2, 1)
                    let gradient = (0..<(rows + 2) * (depth + 2)).map { _ in Float.random(in: -1...1, using: &generator)
                    }
                    let a = PaddedMatrix(rows: rows, columns: columns, random: &generator)
                    let b = PaddedMatrix(rows: depth, columns: columns, random: &generator)
                    // Some are equal: the derivative of |a - b| is 0 there.
                    if depth > 0 { b[depth / 2, columns / 2] = a[rows / 2, columns / 2] }
                    let out = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
                    try derivative.run(kernels, out, gradient, rowStep, depthStep, a, b)
                    var (error, plainError, largest) = (0.0, 0.0, 0.0)
                    for row in 0..<rows {
                        for column in 0..<columns {
                            var (exact, plain) = (0.5, Float(0.5))
                            for k in 0..<depth {
                                let factor = gradient[row * rowStep + k * depthStep]
                                exact += Double(factor) * derivative.value(Double(a[row, column]), Double(b[k, column]))
                                plain += factor * derivative.value(a[row, column], b[k, column])
                            }
                            error = max(error, abs(Double(out[row, column]) - exact))
                            plainError = max(plainError, abs(Double(plain) - exact))
                            largest = max(largest, abs(exact))
                        }
                    }
                    #expect(
                        error <= 2 * plainError + 4 * Double(Float(largest).ulp),
                        "\(derivative), \(rows) × \(columns), depth \(depth)")
                    #expect(out.isPaddingIntact)
                    // Alone, the last element has the same bits.
                    let single = PaddedMatrix(rows: 1, columns: 1, padding: guardValue) { _, _ in 0.5 }
                    try derivative.run(
                        kernels, single, gradient, rowStep, depthStep, a, b, firstRow: rows - 1,
                        firstColumn: columns - 1)
                    #expect(single[0, 0].bitPattern == out[rows - 1, columns - 1].bitPattern, "\(derivative)")
                }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `agree with the plain ones`(table: String) throws {
        let (kernels, plain) = (try kernelTable(table), try kernelTable("scalar"))
        var generator = SeededGenerator(seed: 72)
        func random(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
            (0..<count).map { _ in Float.random(in: range, using: &generator) }
        }
        func expectNear(_ found: [Float], _ expected: [Float], _ what: String) {
            let largest = expected.map(abs).max() ?? 0
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 4e-6 * max(1, largest) }, "\(what)")
        }
        for (keys, queries, features) in [(1, 1, 1), (5, 7, 3), (9, 16, 17), (3, 33, 31), (64, 64, 48), (7, 67, 66)] {
            let (scores, shifts) = (random(keys * queries, in: -9...1), random(queries))
            var (weights, expected) = (scores, scores)
            kernels.softmax_weights(&weights, keys, queries, 0.5, shifts)
            plain.softmax_weights(&expected, keys, queries, 0.5, shifts)
            expectNear(weights, expected, "softmax_weights")

            var (gradient, wanted) = (scores, scores)
            kernels.score_gradients(&gradient, expected, keys, queries, shifts)
            plain.score_gradients(&wanted, expected, keys, queries, shifts)
            #expect(gradient == wanted)

            let begins = (0..<queries).map { _ in Int32.random(in: 0...Int32(keys), using: &generator) }
            let ends = (0..<queries).map { _ in Int32.random(in: 0...Int32(keys), using: &generator) }
            (gradient, wanted) = (scores, scores)
            if keys > 1 { (gradient[0], wanted[0]) = (.infinity, .infinity) }
            kernels.keep_between(&gradient, keys, queries, begins, ends, 0)
            plain.keep_between(&wanted, keys, queries, begins, ends, 0)
            #expect(gradient == wanted)

            // Masked pairs have a gradient of 0, and may be anything.
            var pairs = random(keys * queries)
            for query in 0..<queries where keys > 1 { pairs[query] = 0 }
            let queryRows = random(queries * (features + 1), in: -3...3)
            var keyRows = random(keys * (features + 2), in: -3...3)
            if keys > 1 { keyRows[0] = .nan }
            var (querySums, keySums, weightSums) = (
                random(queries * features), random(keys * features), random(features)
            )
            var (plainQuerySums, plainKeySums, plainWeightSums) = (querySums, keySums, weightSums)
            kernels.additive_gradient(
                &querySums, &keySums, &weightSums, pairs, queryRows, features + 1, keyRows, features + 2, queries, keys,
                features)
            plain.additive_gradient(
                &plainQuerySums, &plainKeySums, &plainWeightSums, pairs, queryRows, features + 1, keyRows, features + 2,
                queries, keys,
                features)
            expectNear(querySums, plainQuerySums, "additive_gradient, queries")
            expectNear(keySums, plainKeySums, "additive_gradient, keys")
            expectNear(weightSums, plainWeightSums, "additive_gradient, weights")

            let (x, y, divisors) = (random(keys * features), random(keys * features), random(keys, in: 1...9))
            var (quotients, dots) = (x, [Float](repeating: 0, count: keys))
            var (plainQuotients, plainDots) = (quotients, dots)
            kernels.divide_and_dot(&quotients, &dots, x, features, y, features, divisors, keys, features)
            plain.divide_and_dot(&plainQuotients, &plainDots, x, features, y, features, divisors, keys, features)
            expectNear(quotients, plainQuotients, "divide_and_dot")
            expectNear(dots, plainDots, "divide_and_dot")
        }
    }

    @Test(arguments: kernelTableNames)
    func `normalise vectors however long they are`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 73)
        for count in [1, 3, 16, 17, 64, 65] {
            for size in [Float(1e-30), 1, 1e30] {
                let x = (0..<count).map { _ in Float.random(in: -1...1, using: &generator) * size }
                var out = [Float](repeating: 0, count: count)
                kernels.normalize(&out, x, count)
                let norm = x.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                for (found, element) in zip(out, x) { #expect(ulps(found, Double(element) / norm) <= 1) }
            }
            var zeros = [Float](repeating: 0, count: count)
            kernels.normalize(&zeros, [Float](repeating: 0, count: count), count)
            #expect(zeros.allSatisfy { $0 == 0 })
        }
    }
}
