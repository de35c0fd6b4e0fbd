import Attention
import TestSupport
import Testing

@Suite struct `Gradients` {
    @Test func `of views reach the tensor viewed`() {
        var generator = SeededGenerator(seed: 1)
        let x = generator.tensor([3, 5, 7])
        #expect(gradientProblems(of: [x]) { $0[0].slice(axis: 1, range: 1..<4) } == [])
        #expect(gradientProblems(of: [x]) { $0[0].transposed(0, 2) } == [])
        #expect(gradientProblems(of: [x]) { $0[0].transposed(0, 1).reshaped(to: [7, 15]) } == [])
        #expect(gradientProblems(of: [x]) { $0[0].expanded(to: [2, 3, 5, 7]) } == [])
        #expect(gradientProblems(of: [x]) { $0[0].unstacked(axis: 1)[3] } == [])
        #expect(gradientProblems(of: [generator.tensor([2, 3, 10])]) { $0[0].splittingHeads(5).mergingHeads() } == [])
    }

    @Test func `of elementwise operations, broadcast ones too`() {
        var generator = SeededGenerator(seed: 2)
        let (x, y) = (generator.tensor([3, 5, 7]), generator.tensor([3, 5, 7]))
        let others = [
            y, generator.tensor([7]), generator.tensor([5, 1]), generator.tensor([3, 1, 7]), generator.tensor([]),
        ]
        for other in others {
            #expect(gradientProblems(of: [x, other]) { $0[0] + $0[1] } == [])
            #expect(gradientProblems(of: [x, other]) { $0[0] - $0[1] } == [])
            #expect(gradientProblems(of: [x, other]) { $0[0] * $0[1] } == [])
        }
        #expect(gradientProblems(of: [x]) { $0[0] * -2.5 } == [])
        #expect(gradientProblems(of: [x]) { $0[0].sum() * $0[0].mean() } == [])
        #expect(gradientProblems(of: [x]) { $0[0].sum(axis: 1) * 3 } == [])
    }

    @Test func `of concatenation and stacking`() {
        var generator = SeededGenerator(seed: 3)
        let (x, y) = (generator.tensor([2, 3, 5]), generator.tensor([2, 7, 5]))
        #expect(gradientProblems(of: [x, y]) { .concatenated([$0[0], $0[1], $0[0]], axis: 1) } == [])
        #expect(gradientProblems(of: [x, x]) { .stacked([$0[0], $0[1] * $0[0]], axis: 1) } == [])
    }

    @Test func `of a linear layer`() {
        var generator = SeededGenerator(seed: 4)
        let (x, weight, bias) = (generator.tensor([2, 3, 5]), generator.tensor([7, 5]), generator.tensor([7]))
        #expect(gradientProblems(of: [x, weight, bias]) { linear($0[0], weight: $0[1], bias: $0[2]) } == [])
        #expect(gradientProblems(of: [x, weight]) { linear($0[0], weight: $0[1]) } == [])
    }

    @Test func `of a tensor used several times add up`() {
        let x = Tensor([2.0, 3.0] as [Double], shape: [2]).tracked()
        let cube = (x * x * x).sum()
        #expect(cube.gradients(of: [x])[0].doubles == [12, 27])
        #expect(x.gradients(of: [x], seed: Tensor([5.0, 7.0] as [Double], shape: [2]))[0].doubles == [5, 7])
    }

    @Test func `keep the type of what they are of where types are mixed`() {
        let x = Tensor([0.5, -0.25] as [Double], shape: [2]).tracked()
        let y = Tensor([1, 2] as [Float], shape: [2])
        // The sum is float32, and the tangent before it float64.
        let gradient = (tanh(x) + y).sum().gradients(of: [x])[0]
        #expect(gradient.elementType == .float64)
        for (value, derivative) in zip([0.5, -0.25], gradient.doubles) {
            #expect(abs(derivative - (1 - Double.tanh(value) * Double.tanh(value))) < 1e-6)
        }
        let halves = Tensor([1, 2] as [Float], shape: [2]).converted(to: .float16).tracked()
        let seed = Tensor([3.0, 5.0] as [Double], shape: [2])
        #expect((halves * 2).gradients(of: [halves], seed: seed)[0].floats == [6, 10])
    }

    @Test func `of what was not used are zeros`() {
        let x = Tensor([1, 2] as [Float], shape: [2]).tracked()
        let y = Tensor([3] as [Float], shape: [1]).tracked()
        #expect(x.sum().gradients(of: [y])[0].floats == [0])
        #expect((x.detached.sum() * 2).gradients(of: [x])[0].floats == [0, 0])
    }

    @Test func `are not recorded where nobody asks`() {
        let x = Tensor([1, 2] as [Float], shape: [2])
        #expect(!(x * x).isTracked)
        #expect((x.tracked() * x).isTracked)
        #expect(withoutGradients { !(x.tracked() * x).isTracked })
    }

    @Test func `of a long chain neither overflow the stack nor take for ever`() {
        let x = Tensor([1] as [Double], shape: [1]).tracked()
        var y = x
        for _ in 0..<100_000 { y = y * 1 }
        #expect(y.gradients(of: [x])[0].doubles == [1])
    }

    @Test func `of a tensor that is not tracked stop the program`() async {
        await #expect(processExitsWith: .failure) {
            let x = Tensor([1] as [Float], shape: [1])
            _ = x.gradients(of: [x])
        }
    }
}
