import Attention
import Testing

@Suite struct Biases {
    // Press et al., section 3: a geometric sequence that starts at 2^(-8/H) and has it as its ratio; the
    // authors' code takes every other slope of the next power of two where H is none.
    @Test func `ALiBi has the paper's slopes`() {
        let eight = ScoreBias.alibiSlopes(headCount: 8)
        for (slope, expected) in zip(eight, [0.5, 0.25, 0.125, 0x1p-4, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8]) {
            #expect(abs(slope - expected) < 1e-15)
        }
        let twelve = ScoreBias.alibiSlopes(headCount: 12)
        #expect(twelve.count == 12)
        for (slope, power) in zip(twelve.dropFirst(8), [0.5, 1.5, 2.5, 3.5]) {
            #expect(abs(slope - .exp(-power * .log(2))) < 1e-15)
        }
        #expect(ScoreBias.alibiSlopes(headCount: 1).map { abs($0 - 0x1p-8) < 1e-18 } == [true])
    }

    @Test func `ALiBi falls with the distance from the query's position`() {
        let rule = ScoreBias.alibi(slopes: [0.5, 2], offsets: [0, 3]).rules[0]
        #expect(rule.value(batch: 0, head: 0, query: 4, key: 1) == -1.5)
        #expect(rule.value(batch: 0, head: 0, query: 1, key: 4) == -1.5)
        #expect(rule.value(batch: 1, head: 1, query: 1, key: 4) == 0)
        #expect(rule.value(batch: 1, head: 1, query: 0, key: 1) == -4)
    }

    @Test func `a tensor broadcasts, whatever its strides`() {
        let values = Tensor([Float(1), 2, 3, 4, 5, 6], shape: [3, 2]).transposed(0, 1)
        let rule = ScoreBias.tensor(values).rules[0]
        #expect(rule.value(batch: 4, head: 9, query: 0, key: 2) == 5)
        #expect(rule.value(batch: 0, head: 0, query: 1, key: 1) == 4)
        let perHead = ScoreBias.tensor(Tensor([1.5, 2.5], shape: [2, 1, 1])).rules[0]
        #expect(perHead.value(batch: 3, head: 1, query: 7, key: 8) == 2.5)
    }

    @Test func `biases add up, and −∞ in one of them masks`() {
        let queries = Tensor([Float(0)], shape: [1, 1, 1, 1])
        let keys = Tensor([Float(0), 0, .nan], shape: [1, 1, 3, 1])
        let values = Tensor([Float(1), 3, .nan], shape: [1, 1, 3, 1])
        let first = ScoreBias.tensor(Tensor([Float(1), 0, -.infinity], shape: [3]))
        let second = ScoreBias.tensor(Tensor([Float(-1), 0, 100], shape: [3]))
        for bias in [first + second, second + first] {
            #expect(
                AttentionOperation(bias: bias)(queries: queries, keys: keys, values: values).floats == [2])
        }
    }
}
