import Attention
import Foundation
import SequenceModels
import Testing

@Suite struct `Token sampler` {
    private static func tokens(
        _ logits: [Float], count: Int, temperature: Double = 1, top: Int? = nil, seed: UInt64 = 1
    ) -> [Int] {
        var sampler = TokenSampler(temperature: temperature, topCount: top, seed: seed)
        return (0..<count).map { _ in sampler.token(from: logits) }
    }

    // Both ways that it goes, with equal numbers, NaN and infinities among them.
    @Test(arguments: [0, 1, 3, 10, 256, 257, 600]) func `the largest are found in the order of a sort`(count: Int) {
        var random = RandomStream(seed: 3)
        for length in [0, 1, 7, 500] {
            let numbers = (0..<length).map { _ -> Float in
                let special: [Float] = [.nan, -.infinity, .infinity, -0.0, 0]
                let pick = Int.random(in: 0..<50, using: &random)
                return pick < special.count ? special[pick] : Float(Int.random(in: -20...20, using: &random))
            }
            let sorted = numbers.indices.filter { !numbers[$0].isNaN }.sorted {
                numbers[$0] == numbers[$1] ? $0 < $1 : numbers[$0] > numbers[$1]
            }
            #expect(numbers.indicesOfLargest(count) == Array(sorted.prefix(count)))
        }
    }

    @Test func `a temperature of 0 takes the likeliest, the first of equals`() {
        #expect(Set(Self.tokens([1, 3, 3, 2], count: 20, temperature: 0)) == [1])
        #expect(Set(Self.tokens([1, 3, 3, 2], count: 20, top: 1)) == [1])
        #expect(Self.tokens([5], count: 1) == [0])
    }

    @Test(arguments: [0.5, 1, 3]) func `tokens come as often as the softmax says`(temperature: Double) {
        let logits: [Float] = [0.5, 2, -1, 1]
        let count = 20_000
        let tokens = Self.tokens(logits, count: count, temperature: temperature)
        let weights = logits.map { exp(Double($0) / temperature) }
        for token in logits.indices {
            let share = weights[token] / weights.reduce(0, +)
            let found = Double(tokens.count { $0 == token }) / Double(count)
            // Four deviations of a share.
            #expect(abs(found - share) < 4 * (share * (1 - share) / Double(count)).squareRoot())
        }
    }

    @Test func `only the likeliest are picked from`() {
        #expect(Set(Self.tokens([0, 1, 0.9, 0.8, 0.7], count: 400, temperature: 2, top: 3)) == [1, 2, 3])
        #expect(Set(Self.tokens([0, 1, 2], count: 400, temperature: 2, top: 99)) == [0, 1, 2])
    }

    @Test func `the same seed picks the same`() {
        let logits = [Float](repeating: 0, count: 50)
        #expect(Self.tokens(logits, count: 30) == Self.tokens(logits, count: 30))
        #expect(Self.tokens(logits, count: 30) != Self.tokens(logits, count: 30, seed: 2))
    }

    @Test func `what is impossible or no number is never picked`() {
        let logits: [Float] = [.nan, -.infinity, 1, -.infinity, 0, .nan]
        #expect(Set(Self.tokens(logits, count: 300, temperature: 5)) == [2, 4])
        #expect(Self.tokens(logits, count: 1, temperature: 0) == [2])
        #expect(Self.tokens([.nan, .nan], count: 1) == [0])
        #expect(Self.tokens([-.infinity, -.infinity], count: 1) == [0])
        #expect(Set(Self.tokens([0, .infinity, 0], count: 20)) == [1])
        #expect(Set(Self.tokens([1, 2, 1], count: 50, temperature: 1e-300)) == [1])
    }
}
