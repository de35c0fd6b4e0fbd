internal import Attention
internal import SequenceModels

/// One recurrent layer over whole sequences.
enum RecurrentWorkload {
    static var all: [Workload] {
        ["RNN", "LSTM", "GRU"].flatMap { kind in
            [(1, 512, 256), (32, 512, 256), (32, 100, 64), (32, 100, 512), (1, 1, 256)].map { batch, length, width in
                workload(kind, batchCount: batch, length: length, width: width)
            }
        }
    }

    private static func workload(_ kind: String, batchCount: Int, length: Int, width: Int) -> Workload {
        let gateCount = kind == "RNN" ? 1 : kind == "LSTM" ? 4 : 3
        let name = "recurrent \(kind) b\(batchCount) t\(length) h\(width)"
        let steps = Double(batchCount * length)
        return Workload(name, bound: .float32, amount: steps * Double(4 * gateCount * width * width)) {
            var random = RandomStream(seed: 1)
            switch kind {
            case "RNN":
                let layer = RNN(inputDimension: width, hiddenDimension: width, random: &random)
                return try run(name, layer, batchCount, length)
            case "LSTM":
                let layer = LSTM(inputDimension: width, hiddenDimension: width, random: &random)
                return try run(name, layer, batchCount, length)
            default:
                let layer = GRU(inputDimension: width, hiddenDimension: width, random: &random)
                return try run(name, layer, batchCount, length)
            }
        }
    }

    private static func run<Layer: RecurrentLayer>(
        _ name: String, _ layer: Layer, _ batchCount: Int, _ length: Int
    ) throws -> () -> Void {
        var random = RandomStream(seed: 2)
        let x = random.normal([batchCount, length, layer.configuration.inputDimension], deviation: 1)
        // The last sequence in Double.
        var precise = layer
        precise.visitParameters { $1 = $1.converted(to: .float64) }
        let last = batchCount - 1..<batchCount
        try Workload.check(
            name, layer(x).outputs.slice(axis: 0, range: last).doubles,
            precise(x.slice(axis: 0, range: last).converted(to: .float64)).outputs.doubles, tolerance: 1e-4)
        return { _ = layer(x) }
    }
}
