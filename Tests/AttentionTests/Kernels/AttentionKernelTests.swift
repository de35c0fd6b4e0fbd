import CAttentionKernels
import Foundation
import TestSupport
import Testing

/// Queries, keys and values of one head, and the steps of attention over them with a table's kernels.
private struct AttentionCase {
    let rows: Int
    let keys: Int
    let depth: Int
    let width: Int
    let queries: [Float]
    var keyRows: [Float]
    var values: [Float]
    /// What each query sees.
    var visible: [Range<Int>]
    let scale: Float = 0.75

    init(rows: Int, keys: Int, depth: Int, width: Int, seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        func numbers(_ count: Int) -> [Float] {
            (0..<count).map { _ in Float.random(in: -2...2, using: &generator) }
        }
        (self.rows, self.keys, self.depth, self.width) = (rows, keys, depth, width)
        queries = numbers(rows * depth)
        keyRows = numbers(keys * depth)
        values = numbers(keys * width)
        visible = (0..<rows).map { _ in 0..<keys }
    }

    struct Result: Equatable {
        var averages: [UInt32]
        var maxima: [UInt32]
        var sums: [UInt32]
    }

    /// Runs the kernel on rows `part`, the keys in blocks that begin at `starts`.
    func run(
        _ kernels: sattn_kernels, _ part: Range<Int>, starts: [Int] = [0], givenScores: Bool = false
    ) -> Result {
        let panelWidth = kernels.tile_columns
        let stride = (keys + 63) / 64 * 64
        var averages = [Float](repeating: 0, count: part.count * width)
        var maxima = [Float](repeating: -.infinity, count: part.count)
        var sums = [Float](repeating: 0, count: part.count)
        for (start, end) in zip(starts, starts.dropFirst() + [keys]) {
            var panels = [Float](repeating: .nan, count: (keys + panelWidth) * depth)
            for first in Swift.stride(from: start, to: end, by: panelWidth) {
                for key in first..<min(end, first + panelWidth) {
                    for k in 0..<depth {
                        panels[(first - start) * depth + k * panelWidth + key - first] = keyRows[key * depth + k]
                    }
                }
            }
            var scores = [Float](repeating: .nan, count: max(8, part.count) * stride)
            if givenScores {
                for row in part {
                    for key in start..<end {
                        scores[(row - part.lowerBound) * stride + key - start] =
                            visible[row].contains(key) ? Float(score(row, key)) : -.infinity
                    }
                }
            }
            let begins = part.map { UInt32(min(max(visible[$0].lowerBound, start), end) - start) }
            let ends = part.map { UInt32(min(max(visible[$0].upperBound, start), end) - start) }
            queries.withUnsafeBufferPointer { queries in
                values.withUnsafeBufferPointer { values in
                    guard let firstQuery = queries.baseAddress, let firstValue = values.baseAddress else { return }
                    var tile = sattn_attention_tile()
                    (tile.rows, tile.keys, tile.depth, tile.width) = (part.count, end - start, depth, width)
                    (tile.queries, tile.query_stride) = (firstQuery + part.lowerBound * depth, depth)
                    (tile.values, tile.value_stride) = (firstValue + start * width, width)
                    (tile.scale, tile.score_stride) = (scale, stride)
                    panels.withUnsafeBufferPointer { panels in
                        begins.withUnsafeBufferPointer { begins in
                            ends.withUnsafeBufferPointer { ends in
                                scores.withUnsafeMutableBufferPointer { scores in
                                    averages.withUnsafeMutableBufferPointer { averages in
                                        maxima.withUnsafeMutableBufferPointer { maxima in
                                            sums.withUnsafeMutableBufferPointer { sums in
                                                if !givenScores {
                                                    tile.panels = panels.baseAddress
                                                    (tile.begins, tile.ends) = (begins.baseAddress, ends.baseAddress)
                                                }
                                                tile.scores = scores.baseAddress
                                                tile.averages = averages.baseAddress
                                                tile.maxima = maxima.baseAddress
                                                tile.sums = sums.baseAddress
                                                kernels.attend(&tile)
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return Result(
            averages: averages.map(\.bitPattern), maxima: maxima.map(\.bitPattern), sums: sums.map(\.bitPattern))
    }

    func score(_ row: Int, _ key: Int) -> Double {
        (0..<depth).reduce(0) { $0 + Double(queries[row * depth + $1]) * Double(keyRows[key * depth + $1]) }
            * Double(scale)
    }

    /// Eight units in the last place of the largest score, which is what a sum of so many products may lose.
    var tolerance: Double {
        let scores = (0..<rows).flatMap { row in (0..<keys).map { abs(score(row, $0)) } }
        return 1e-6 + 8 * Double(Float(scores.max() ?? 0).ulp)
    }

    /// The largest error of the averages, relative to their sum of weights, and of maxima and sums.
    func error(of result: Result) -> Double {
        var error = 0.0
        for row in 0..<rows {
            let scores = visible[row].map { score(row, $0) }
            let largest = scores.max() ?? -.infinity
            let weights = scores.map { exp($0 - largest) }
            let sum = weights.reduce(0, +)
            let maximum = Double(Float(bitPattern: result.maxima[row]))
            error = max(error, scores.isEmpty ? (maximum == largest ? 0 : .infinity) : abs(maximum - largest))
            error = max(error, abs(Double(Float(bitPattern: result.sums[row])) - sum) / max(sum, 1))
            for column in 0..<width {
                let average = zip(visible[row], weights).reduce(0) { $0 + $1.1 * Double(values[$1.0 * width + column]) }
                let actual = Double(Float(bitPattern: result.averages[row * width + column]))
                error = max(error, actual.isNaN ? .infinity : abs(actual - average) / max(sum, 1))
            }
        }
        return error
    }
}

@Suite struct `Attention kernel` {
    @Test(arguments: kernelTableNames)
    func `agrees with plain loops in Double, whatever is seen`(table: String) throws {
        let kernels = try kernelTable(table)
        for (index, (rows, keys, depth, width)) in [
            (1, 1, 1, 1), (6, 64, 8, 64), (7, 67, 5, 3), (13, 131, 64, 80), (5, 16, 3, 31), (23, 200, 16, 128),
            (2, 259, 7, 33), (12, 48, 0, 16), (4, 70, 3, 0),
        ].enumerated() {
            var test = AttentionCase(rows: rows, keys: keys, depth: depth, width: width, seed: UInt64(index))
            var generator = SeededGenerator(seed: 100 + UInt64(index))
            let tolerance = test.tolerance
            for pattern in 0..<4 {
                for row in 0..<rows {
                    switch pattern {
                    case 0: test.visible[row] = 0..<keys
                    case 1: test.visible[row] = 0..<min(keys, keys * row / rows)
                    case 2: test.visible[row] = keys * row / (2 * rows)..<keys * (row + rows) / (2 * rows)
                    default:
                        let bounds = (0..<2).map { _ in Int.random(in: 0...keys, using: &generator) }
                        test.visible[row] = min(bounds[0], bounds[1])..<max(bounds[0], bounds[1])
                    }
                }
                let result = test.run(kernels, 0..<rows)
                #expect(
                    test.error(of: result) <= tolerance, "\(rows) × \(keys), depth \(depth), width \(width), \(pattern)"
                )
                // From the same scores, computed more exactly.
                let given = test.run(kernels, 0..<rows, givenScores: true)
                #expect(test.error(of: given) <= tolerance, "given: \(rows) × \(keys), width \(width), \(pattern)")
                if keys > 64 {
                    let inBlocks = test.run(kernels, 0..<rows, starts: [0, 64])
                    #expect(test.error(of: inBlocks) <= tolerance, "in blocks: \(rows) × \(keys), \(pattern)")
                }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `gives a query the same bits whatever queries and unseen keys stand beside it`(table: String) throws {
        let kernels = try kernelTable(table)
        var test = AttentionCase(rows: 15, keys: 263, depth: 9, width: 67, seed: 1)
        for row in 0..<15 { test.visible[row] = 11 * row..<100 + 11 * row }
        let whole = test.run(kernels, 0..<15, starts: [0, 64, 192])
        for row in 0..<15 {
            let alone = test.run(kernels, row..<row + 1, starts: [0, 64, 192])
            #expect(alone.averages == Array(whole.averages[row * 67..<(row + 1) * 67]))
            #expect(alone.maxima == [whole.maxima[row]])
            #expect(alone.sums == [whole.sums[row]])
        }
        for poison in [Float.nan, .infinity, -.infinity] {
            var poisoned = test
            for key in [0, 105, 262] {
                for k in 0..<9 { poisoned.keyRows[key * 9 + k] = poison }
                for k in 0..<67 { poisoned.values[key * 67 + k] = poison }
            }
            let result = poisoned.run(kernels, 0..<15, starts: [0, 64, 192])
            for row in 0..<15 {
                let seesPoison = [0, 105, 262].contains { test.visible[row].contains($0) }
                let averages = Array(result.averages[row * 67..<(row + 1) * 67])
                #expect((averages == Array(whole.averages[row * 67..<(row + 1) * 67])) == !seesPoison, "\(row)")
                if seesPoison { #expect(averages.allSatisfy { !Float(bitPattern: $0).isFinite }, "\(row)") }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `divides rows`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 2)
        for (rows, columns) in [(0, 3), (1, 1), (3, 16), (5, 67)] {
            let x = PaddedMatrix(rows: rows, columns: columns, random: &generator)
            let divisors = (0..<rows).map { _ in Float.random(in: 1...9, using: &generator) }
            let out = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0 }
            kernels.divide_rows(
                try #require(out.pointer), out.stride, try #require(x.pointer), x.stride, divisors, rows, columns)
            for row in 0..<rows {
                for column in 0..<columns {
                    #expect(ulps(out[row, column], Double(x[row, column]) / Double(divisors[row])) < 1.6)
                }
            }
            #expect(out.isPaddingIntact)
        }
    }
}
