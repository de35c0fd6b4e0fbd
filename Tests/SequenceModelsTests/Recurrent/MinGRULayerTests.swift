import Attention
import SequenceModels
import Testing

@Suite struct `Minimal GRU layer` {
    @Test func `has two linear layers, and goes on from a state`() {
        var random = RandomStream(seed: 1)
        let layer = MinGRU(inputDimension: 3, hiddenDimension: 5, random: &random)
        #expect(
            layer.parameters.map(\.name) == ["linear_z.weight", "linear_z.bias", "linear_h.weight", "linear_h.bias"])
        let x = random.uniform([2, 7, 3], bound: 1)
        let whole = layer(x)
        let first = layer(x.slice(axis: 1, range: 0..<4))
        var state = first.slice(axis: 1, range: 3..<4).removing(axis: 1)
        let rest = layer(x.slice(axis: 1, range: 4..<7), initialState: state)
        #expect(Tensor.concatenated([first, rest], axis: 1).floats == whole.floats)
        for step in 4..<7 {
            let output = layer.step(x.slice(axis: 1, range: step..<step + 1).removing(axis: 1), state: &state)
            #expect(output.floats == state.floats)
            #expect(output.floats == whole.slice(axis: 1, range: step..<step + 1).floats)
        }
    }
}
