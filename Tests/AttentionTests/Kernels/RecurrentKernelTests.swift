import CAttentionKernels
import Foundation
import TestSupport
import Testing

/// The kernels of recurrent layers against their equations in `Double`, and their gradients against differences of those.
@Suite struct `Kernels of recurrent layers` {
    private static let counts = [1, 3, 8, 15, 16, 17, 33, 67]

    private static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

    /// The gates, the cell and the output of one unit.
    private static func lstm(sums: [Double], previousCell: Double) -> (gates: [Double], cell: Double, output: Double) {
        let gates = [sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), sigmoid(sums[3])]
        let cell = gates[1] * previousCell + gates[0] * gates[2]
        return (gates, cell, gates[3] * tanh(cell))
    }

    /// The gates and the output of one unit.
    private static func gru(sums: [Double], term: Double, previous: Double) -> (gates: [Double], output: Double) {
        let (reset, update) = (sigmoid(sums[0]), sigmoid(sums[1]))
        let candidate = tanh(sums[2] + reset * term)
        return ([reset, update, candidate], (1 - update) * candidate + update * previous)
    }

    /// Central differences, each with respect to one of the numbers.
    private static func differences(_ x: [Double], _ function: ([Double]) -> Double) -> [Double] {
        x.indices.map { index in
            var (above, below) = (x, x)
            above[index] += 1e-5
            below[index] -= 1e-5
            return (function(above) - function(below)) / 2e-5
        }
    }

    /// Stops the test where a float is further from its exact value than some roundings of numbers of size 1 put it.
    private func expectNear(
        _ values: [Float], _ exact: [Double], _ what: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let distance = zip(values, exact).map { abs(Double($0) - $1) }.max() ?? .infinity
        #expect(values.count == exact.count && distance <= 2e-6, "\(what)", sourceLocation: sourceLocation)
    }

    /// The numbers of one unit, of vectors that lie side by side.
    private func unit(_ index: Int, of vectors: PaddedMatrix) -> [Double] {
        (0..<vectors.rows).map { Double(vectors[$0, index]) }
    }

    @Test(arguments: kernelTableNames)
    func `a step of an LSTM is that of its equations`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 61)
        for count in Self.counts {
            let sums = PaddedMatrix(rows: 4, columns: count, padding: guardValue) { _, _ in
                Float.random(in: -3...3, using: &generator)
            }
            let gates = PaddedMatrix(rows: 4, columns: count, padding: guardValue) { sums[$0, $1] }
            let previous = generator.floats(count)
            let results = PaddedMatrix(rows: 2, columns: count, padding: guardValue) { _, _ in 0 }
            let (cell, output) = (results.pointer, results.pointer.map { $0 + results.stride })
            kernels.lstm_cell(gates.pointer, gates.stride, previous, cell, output, count)
            #expect(gates.isPaddingIntact && results.isPaddingIntact)
            for index in 0..<count {
                let exact = Self.lstm(sums: unit(index, of: sums), previousCell: Double(previous[index]))
                expectNear(
                    (unit(index, of: gates) + unit(index, of: results)).map(Float.init),
                    exact.gates + [exact.cell, exact.output], "unit \(index) of \(count)")
                // Alone, a unit has the same bits.
                var (alone, ownCell, ownOutput) = ((0..<4).map { sums[$0, index] }, Float(0), Float(0))
                kernels.lstm_cell(&alone, 1, [previous[index]], &ownCell, &ownOutput, 1)
                #expect(alone == (0..<4).map { gates[$0, index] })
                #expect([ownCell, ownOutput] == (0..<2).map { results[$0, index] })
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `a step of a GRU is that of its equations`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 62)
        for count in Self.counts {
            let sums = PaddedMatrix(rows: 3, columns: count, padding: guardValue) { _, _ in
                Float.random(in: -3...3, using: &generator)
            }
            let gates = PaddedMatrix(rows: 3, columns: count, padding: guardValue) { sums[$0, $1] }
            let (terms, previous) = (generator.floats(count), generator.floats(count))
            let output = PaddedMatrix(rows: 1, columns: count, padding: guardValue) { _, _ in 0 }
            kernels.gru_cell(gates.pointer, gates.stride, terms, previous, output.pointer, count)
            #expect(gates.isPaddingIntact && output.isPaddingIntact)
            for index in 0..<count {
                let exact = Self.gru(
                    sums: unit(index, of: sums), term: Double(terms[index]), previous: Double(previous[index]))
                expectNear(
                    (unit(index, of: gates) + unit(index, of: output)).map(Float.init), exact.gates + [exact.output],
                    "unit \(index) of \(count)")
                var (alone, ownOutput) = ((0..<3).map { sums[$0, index] }, Float(0))
                kernels.gru_cell(&alone, 1, [terms[index]], [previous[index]], &ownOutput, 1)
                #expect(alone == (0..<3).map { gates[$0, index] } && ownOutput == output[0, index])
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `the way back through an LSTM matches differences`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 63)
        for count in Self.counts {
            let sums = PaddedMatrix(rows: 4, columns: count, random: &generator)
            let previous = generator.floats(count)
            let (ofOutput, ofCell) = (generator.floats(count), generator.floats(count))
            let forward = (0..<count).map {
                Self.lstm(sums: unit($0, of: sums), previousCell: Double(previous[$0]))
            }
            let gates = PaddedMatrix(rows: 4, columns: count, padding: .nan) { Float(forward[$1].gates[$0]) }
            let gradients = PaddedMatrix(rows: 4, columns: count, padding: guardValue) { _, _ in 0 }
            var cellGradient = ofCell + [guardValue]
            kernels.lstm_cell_gradient(
                gradients.pointer, &cellGradient, ofOutput, gates.pointer, gates.stride, previous,
                forward.map { Float($0.cell) }, count)
            #expect(gradients.isPaddingIntact && cellGradient.last == guardValue)
            for index in 0..<count {
                let exact = Self.differences(unit(index, of: sums) + [Double(previous[index])]) {
                    let result = Self.lstm(sums: Array($0[..<4]), previousCell: $0[4])
                    return Double(ofOutput[index]) * result.output + Double(ofCell[index]) * result.cell
                }
                expectNear(
                    unit(index, of: gradients).map(Float.init) + [cellGradient[index]], exact,
                    "unit \(index) of \(count)")
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `the way back through a GRU matches differences`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 64)
        for count in Self.counts {
            let sums = PaddedMatrix(rows: 3, columns: count, random: &generator)
            let (terms, previous) = (generator.floats(count), generator.floats(count))
            let (ofOutput, ofState) = (generator.floats(count), generator.floats(count))
            let gates = PaddedMatrix(rows: 3, columns: count, padding: .nan) {
                Float(
                    Self.gru(sums: unit($1, of: sums), term: Double(terms[$1]), previous: Double(previous[$1])).gates[
                        $0])
            }
            let gradients = PaddedMatrix(rows: 3, columns: count, padding: guardValue) { _, _ in 0 }
            var termGradients = [Float](repeating: guardValue, count: count + 1)
            var stateGradient = ofState + [guardValue]
            kernels.gru_cell_gradient(
                gradients.pointer, &termGradients, &stateGradient, ofOutput, gates.pointer, gates.stride, terms,
                previous, count)
            #expect(gradients.isPaddingIntact && [termGradients.last, stateGradient.last] == [guardValue, guardValue])
            for index in 0..<count {
                let inputs = unit(index, of: sums) + [Double(terms[index]), Double(previous[index])]
                let exact = Self.differences(inputs) {
                    (Double(ofOutput[index]) + Double(ofState[index]))
                        * Self.gru(sums: Array($0[..<3]), term: $0[3], previous: $0[4]).output
                }
                expectNear(
                    unit(index, of: gradients).map(Float.init) + [termGradients[index], stateGradient[index]], exact,
                    "unit \(index) of \(count)")
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `gates are exact at their ends, and NaN stays in its unit`(table: String) throws {
        let kernels = try kernelTable(table)
        let ends: [Float] = [-.infinity, -1e30, 0, 1e30, .infinity, .nan]
        let count = ends.count
        var gates = ends + ends + ends + ends
        var (cell, output) = ([Float](repeating: 0, count: count), [Float](repeating: 0, count: count))
        kernels.lstm_cell(&gates, count, [Float](repeating: 1, count: count), &cell, &output, count)
        for gate in [0, 1, 3] { #expect(Array(gates[gate * count..<(gate + 1) * count - 1]) == [0, 0, 0.5, 1, 1]) }
        #expect(Array(gates[2 * count..<3 * count - 1]) == [-1, -1, 0, 1, 1])
        #expect(Array(cell.dropLast()) == [0, 0, 0.5, 2, 2])
        #expect(output.dropLast().allSatisfy(\.isFinite) && cell.last?.isNaN == true && output.last?.isNaN == true)

        gates = ends + ends + ends
        kernels.gru_cell(
            &gates, count, [Float](repeating: 0, count: count), [Float](repeating: 0.25, count: count), &output, count)
        #expect(Array(output.dropLast()) == [-1, -1, 0.125, 0.25, 0.25] && output.last?.isNaN == true)
    }
}
