import Attention
import TestSupport
import Testing

/// One of the four rules: with or without a decay and an update rate.
struct LinearRule: Sendable, CustomTestStringConvertible {
    let decays: Bool
    let corrects: Bool

    var testDescription: String {
        switch (decays, corrects) {
        case (false, false): "linear"
        case (true, false): "gated"
        case (false, true): "delta"
        case (true, true): "gated delta"
        }
    }

    static let all = [false, true].flatMap { decays in [false, true].map { LinearRule(decays: decays, corrects: $0) } }
}

@Suite struct `Linear attention` {
    @Test(arguments: LinearRule.all)
    func `agrees with its definition`(rule: LinearRule) {
        let operands = Operands(rule, steps: 71, seed: 1)
        let result = operands.attention
        let expected = operands.plain
        #expect(result.output.shape == [2, 4, 71, 5])
        #expect(largestDifference(result.output, expected.output) < 1e-12)
        #expect(largestDifference(result.state, expected.state) < 1e-12)
    }

    @Test(arguments: LinearRule.all)
    func `fed in pieces has the same bits as in one pass`(rule: LinearRule) {
        let operands = Operands(rule, steps: 13, seed: 2)
        let whole = operands.attention
        var state: Tensor? = operands.state
        let pieces = [0..<4, 4..<4, 4..<5, 5..<13].map { range in
            let result = operands.part(range, state: state).attention
            state = result.state
            return result.output
        }
        #expect(Tensor.concatenated(pieces, axis: 2).doubles == whole.output.doubles)
        #expect(state?.doubles == whole.state.doubles)
    }

    @Test(arguments: LinearRule.all)
    func `gradients match central differences`(rule: LinearRule) {
        let operands = Operands(rule, steps: 7, seed: 3)
        #expect(
            gradientProblems(of: operands.all) { inputs in
                let result = operands.replaced(by: inputs).attention
                return .concatenated(
                    [
                        result.output.reshaped(to: [result.output.elementCount]),
                        result.state.reshaped(to: [result.state.elementCount]),
                    ], axis: 0)
            } == [])
    }

    @Test(arguments: LinearRule.all)
    func `gradients across kept states match central differences`(rule: LinearRule) {
        let operands = Operands(rule, steps: 131, sizes: (1, 1, 1, 2, 1), seed: 4)
        #expect(gradientProblems(of: operands.all) { operands.replaced(by: $0).attention.output } == [])
    }

    @Test func `a decay of a head, and a rate of all heads, are repeated`() {
        let operands = Operands(LinearRule(decays: true, corrects: true), steps: 5, seed: 5)
        var generator = SeededGenerator(seed: 6)
        let (decay, rate) = (generator.tensor([2, 2, 5, 1]), generator.tensor([2, 1, 5]))
        func attention(_ decay: Tensor, _ rate: Tensor) -> Tensor {
            linearAttention(
                queries: operands.queries, keys: operands.keys, values: operands.values, decay: decay, updateRate: rate
            ).output
        }
        #expect(
            attention(decay, rate).doubles
                == attention(decay.expanded(to: [2, 2, 5, 3]).contiguous(), rate.expanded(to: [2, 2, 5])).doubles)
        #expect(gradientProblems(of: [decay, rate]) { attention($0[0], $0[1]) } == [])
    }

    @Test func `a later step never changes an earlier output`() {
        let operands = Operands(LinearRule(decays: true, corrects: true), steps: 11, seed: 7)
        let whole = operands.attention.output
        let part = operands.part(0..<6, state: operands.state).attention.output
        #expect(whole.slice(axis: 2, range: 0..<6).doubles == part.doubles)
    }

    @Test func `results and gradients have the same bits with any number of threads`() {
        let operands = Operands(LinearRule(decays: true, corrects: true), steps: 70, seed: 8)
        let tracked = operands.all.map { $0.converted(to: .float32).tracked() }
        expectSameBits {
            let result = operands.replaced(by: tracked).attention
            return [result.output, result.state] + result.output.sum().gradients(of: tracked)
        }
    }

    @Test func `operands that do not fit stop the program`() async {
        await #expect(processExitsWith: .failure) {
            let x = Tensor(zeros: [1, 2, 3, 4])
            _ = linearAttention(queries: x, keys: Tensor(zeros: [1, 2, 4, 4]), values: x)
        }
        await #expect(processExitsWith: .failure) {
            let x = Tensor(zeros: [1, 2, 3, 4])
            _ = linearAttention(queries: x, keys: x, values: x, state: Tensor(zeros: [1, 2, 4, 3]))
        }
    }
}

/// Operands of linear attention, two query heads to each key-value head unless told otherwise.
private struct Operands {
    var queries, keys, values: Tensor
    var decay, updateRate: Tensor?
    var state: Tensor

    init(
        _ rule: LinearRule, steps: Int,
        sizes: (batch: Int, heads: Int, group: Int, dimension: Int, valueDimension: Int) = (2, 2, 2, 3, 5), seed: UInt64
    ) {
        var generator = SeededGenerator(seed: seed)
        let (batch, heads, group, dimension, valueDimension) = sizes
        queries = generator.tensor([batch, heads * group, steps, dimension])
        keys = generator.tensor([batch, heads, steps, dimension])
        values = generator.tensor([batch, heads, steps, valueDimension])
        // Decays are logarithms of factors below 1.
        decay = rule.decays ? generator.tensor([batch, heads, steps, dimension]) - Tensor([1.0], shape: [1]) : nil
        updateRate = rule.corrects ? generator.tensor([batch, heads, steps]) : nil
        state = generator.tensor([batch, heads, dimension, valueDimension])
    }

    var all: [Tensor] { [queries, keys, values, state] + [decay, updateRate].compactMap { $0 } }

    func replaced(by inputs: [Tensor]) -> Operands {
        var operands = self
        (operands.queries, operands.keys, operands.values, operands.state) = (
            inputs[0], inputs[1], inputs[2], inputs[3]
        )
        if decay != nil { operands.decay = inputs[4] }
        if updateRate != nil { operands.updateRate = inputs[inputs.count - 1] }
        return operands
    }

    func part(_ range: Range<Int>, state: Tensor?) -> Operands {
        var operands = self
        operands.queries = queries.slice(axis: 2, range: range)
        operands.keys = keys.slice(axis: 2, range: range)
        operands.values = values.slice(axis: 2, range: range)
        operands.decay = decay?.slice(axis: 2, range: range)
        operands.updateRate = updateRate?.slice(axis: 2, range: range)
        if let state { operands.state = state }
        return operands
    }

    var attention: LinearAttentionResult {
        linearAttention(
            queries: queries, keys: keys, values: values, decay: decay, updateRate: updateRate, state: state)
    }

    /// The recurrence, step by step.
    var plain: (output: Tensor, state: Tensor) {
        let (batch, heads, steps, dimension) = (keys.shape[0], keys.shape[1], keys.shape[2], keys.shape[3])
        let (queryHeads, valueDimension) = (queries.shape[1], values.shape[3])
        var outputs = [Double](repeating: 0, count: batch * queryHeads * steps * valueDimension)
        var states: [Double] = []
        for image in 0..<batch {
            for head in 0..<heads {
                var s = (0..<dimension).map { row in (0..<valueDimension).map { state[image, head, row, $0] } }
                for step in 0..<steps {
                    for row in 0..<dimension {
                        let factor = decay.map { Double.exp($0[image, head, step, row]) } ?? 1
                        for column in 0..<valueDimension { s[row][column] *= factor }
                    }
                    let key = (0..<dimension).map { keys[image, head, step, $0] }
                    let update = (0..<valueDimension).map { column in
                        let value = values[image, head, step, column]
                        guard let rate = updateRate?[image, head, step] else { return value }
                        return rate * (value - (0..<dimension).reduce(0) { $0 + s[$1][column] * key[$1] })
                    }
                    for row in 0..<dimension {
                        for column in 0..<valueDimension { s[row][column] += key[row] * update[column] }
                    }
                    for query in head * (queryHeads / heads)..<(head + 1) * (queryHeads / heads) {
                        for column in 0..<valueDimension {
                            let sum = (0..<dimension).reduce(0) { $0 + queries[image, query, step, $1] * s[$1][column] }
                            outputs[((image * queryHeads + query) * steps + step) * valueDimension + column] =
                                sum / Double(dimension).squareRoot()
                        }
                    }
                }
                states += s.flatMap { $0 }
            }
        }
        return (Tensor(outputs, shape: [batch, queryHeads, steps, valueDimension]), Tensor(states, shape: state.shape))
    }
}
