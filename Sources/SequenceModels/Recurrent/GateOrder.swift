internal import Attention

/// The order in which a format lays out the gates of a recurrent layer.
struct GateOrder {
    /// For each gate of the format, its place in PyTorch's order.
    private let places: [Int]

    /// ONNX's: input, output, forget, candidate for an LSTM; update, reset, candidate for a GRU.
    static func onnx(_ cell: RecurrentCell) -> GateOrder {
        switch cell {
        case .rnn: GateOrder(places: [0])
        case .lstm: GateOrder(places: [0, 3, 1, 2])
        case .gru: GateOrder(places: [1, 0, 2])
        }
    }

    /// Keras's: input, forget, candidate, output for an LSTM, as PyTorch; update, reset, candidate for a GRU.
    static func keras(_ cell: RecurrentCell) -> GateOrder {
        switch cell {
        case .rnn: GateOrder(places: [0])
        case .lstm: GateOrder(places: [0, 1, 2, 3])
        case .gru: GateOrder(places: [1, 0, 2])
        }
    }

    /// Returns a parameter of PyTorch's order, gates along the first dimension, in the format's.
    func fromPyTorch(_ parameter: Tensor) -> Tensor { reordered(parameter, by: places) }

    /// Returns a parameter of the format's order, gates along the first dimension, in PyTorch's.
    func toPyTorch(_ parameter: Tensor) -> Tensor {
        reordered(parameter, by: places.indices.map { place in places.firstIndex(of: place) ?? place })
    }

    private func reordered(_ parameter: Tensor, by places: [Int]) -> Tensor {
        let units = parameter.shape[0] / places.count
        return Tensor.concatenated(
            places.map { parameter.slice(axis: 0, range: $0 * units..<($0 + 1) * units) }, axis: 0)
    }
}
