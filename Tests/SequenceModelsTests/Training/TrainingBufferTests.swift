import Attention
import Testing

@testable import SequenceModels

/// What training asks the pool of buffers for.
///
/// The counts are of a whole process, so the test runs in one of its own.
@Suite struct `Buffers of training` {
    /// Makes steps on one batch, and returns what the last of them asked for.
    private static func countsOfLastSteps(_ model: some SequenceModel, on batch: TrainingBatch) -> BufferPool.Counts {
        var (model, optimizer) = (model, Optimizer(.adamW()))
        var before = BufferPool.shared.counts
        for step in 0..<8 {
            if step == 4 { before = BufferPool.shared.counts }
            var dropout: RandomStream? = RandomStream(seed: UInt64(step))
            let (_, gradients) = model.lossAndGradients(on: batch, dropout: &dropout)
            optimizer.step(&model, gradients: gradients, learningRate: 1e-3)
        }
        var counts = BufferPool.shared.counts
        counts.newCount -= before.newCount
        counts.newByteCount -= before.newByteCount
        counts.reusedCount -= before.reusedCount
        counts.reusedByteCount -= before.reusedByteCount
        return counts
    }

    @Test func `no architecture takes a new buffer once a few steps are made`() async {
        await #expect(processExitsWith: .success) {
            // How many buffers several threads hold at a time is theirs to choose.
            ComputeThreads.count = 1
            for modelCase in TextModelCase.architectures {
                let counts = Self.countsOfLastSteps(modelCase.model, on: modelCase.batch(lengths: [13, 4, 9]))
                #expect(counts.newCount == 0 && counts.newByteCount == 0, "\(modelCase): \(counts)")
                #expect(counts.reusedCount > 0 && counts.reusedByteCount > 0, "\(modelCase): \(counts)")
            }
        }
    }
}
