import Attention
import TestSupport
import Testing

@Suite struct `Minimal GRU` {
    @Test func `agrees with its definition`() {
        var generator = SeededGenerator(seed: 1)
        let (gates, candidates) = (generator.tensor([2, 7, 67], bound: 4), generator.tensor([2, 7, 67]))
        let first = generator.tensor([2, 67])
        let actual = minGRU(gates: gates, candidates: candidates, initialState: first)
        let single = minGRU(
            gates: gates.converted(to: .float32), candidates: candidates.converted(to: .float32),
            initialState: first.converted(to: .float32))
        for sequence in 0..<2 {
            for channel in 0..<67 {
                var state = first[sequence, channel]
                for step in 0..<7 {
                    let z = 1 / (1 + Double.exp(-gates[sequence, step, channel]))
                    state = (1 - z) * state + z * candidates[sequence, step, channel]
                    #expect(abs(actual[sequence, step, channel] - state) < 1e-14)
                    #expect(abs(single[sequence, step, channel] - state) < 1e-6)
                }
            }
        }
    }

    @Test func `gradients match central differences`() {
        var generator = SeededGenerator(seed: 2)
        let inputs = [
            generator.tensor([2, 5, 3], bound: 3), generator.tensor([2, 5, 3]), generator.tensor([2, 3]),
        ]
        #expect(gradientProblems(of: inputs) { minGRU(gates: $0[0], candidates: $0[1], initialState: $0[2]) } == [])
        #expect(gradientProblems(of: inputs) { minGRU(gates: $0[0], candidates: $0[1]) } == [])
    }

    @Test func `no state is a state of zeros`() {
        var generator = SeededGenerator(seed: 3)
        let (gates, candidates) = (generator.tensor([2, 5, 3]), generator.tensor([2, 5, 3]))
        #expect(
            minGRU(gates: gates, candidates: candidates).doubles
                == minGRU(
                    gates: gates, candidates: candidates,
                    initialState: Tensor(zeros: [2, 3], elementType: .float64)
                ).doubles)
    }

    @Test func `fed in pieces has the same bits as in one pass`() {
        var generator = SeededGenerator(seed: 4)
        let (gates, candidates) = (
            generator.tensor([2, 9, 70]).converted(to: .float32), generator.tensor([2, 9, 70]).converted(to: .float32)
        )
        let whole = minGRU(gates: gates, candidates: candidates)
        var state: Tensor?
        let pieces = [0..<1, 1..<2, 2..<6, 6..<9].map { range in
            let part = minGRU(
                gates: gates.slice(axis: 1, range: range), candidates: candidates.slice(axis: 1, range: range),
                initialState: state)
            state = part.slice(axis: 1, range: range.count - 1..<range.count).removing(axis: 1)
            return part
        }
        #expect(Tensor.concatenated(pieces, axis: 1).floats == whole.floats)
        #expect(minGRU(gates: Tensor(zeros: [2, 0, 3]), candidates: Tensor(zeros: [2, 0, 3])).shape == [2, 0, 3])
    }

    @Test func `gates far beyond the logistic function's range open and close`() {
        let gates = Tensor([-1000, 1000, .infinity, -.infinity] as [Float], shape: [1, 4, 1])
        let candidates = Tensor([5, 7, 9, 11] as [Float], shape: [1, 4, 1])
        #expect(minGRU(gates: gates, candidates: candidates).floats == [0, 7, 9, 9])
    }

    @Test func `results and gradients have the same bits with any number of threads`() {
        var generator = SeededGenerator(seed: 5)
        let gates = generator.tensor([3, 11, 131]).converted(to: .float32).tracked()
        let candidates = generator.tensor([3, 11, 131]).converted(to: .float32).tracked()
        expectSameBits {
            let output = minGRU(gates: gates, candidates: candidates)
            return [output] + (output * output).sum().gradients(of: [gates, candidates])
        }
    }
}
