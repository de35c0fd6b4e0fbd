import Foundation
import SequenceModels
import Testing

@Suite struct `Learning-rate schedules` {
    @Test func `a constant one is constant`() {
        for progress in [-1, 0, 0.3, 1, 2] {
            #expect(LearningRateSchedule.constant.factor(progress: progress, warmUp: 0.5) == 1)
        }
    }

    @Test func `the cosine rises in a straight line, and falls to a tenth`() {
        func factor(_ progress: Double, _ warmUp: Double = 0.2) -> Double {
            LearningRateSchedule.cosine.factor(progress: progress, warmUp: warmUp)
        }
        #expect(factor(0) == 0)
        #expect(factor(0.05) == 0.25)
        #expect(factor(0.2) == 1)
        #expect(abs(factor(0.6) - 0.55) < 1e-15)
        #expect(abs(factor(1) - 0.1) < 1e-15)
        // Both sides of the peak meet, and nothing lies beyond the ends.
        #expect(abs(factor(0.2 - 1e-9) - factor(0.2 + 1e-9)) < 1e-8)
        #expect(factor(-3) == 0 && factor(7) == factor(1))
        // Without a rise, and without a fall.
        #expect(factor(0, 0) == 1)
        #expect(factor(0.5, 1) == 0.5 && abs(factor(1, 1) - 0.1) < 1e-15)
    }

    // CosineAnnealingLR(SGD([p], lr=1.0), T_max=7, eta_min=0.1), steps 0 to 7.
    @Test func `the cosine is PyTorch's`() {
        let expected = [
            1.0, 0.9554359905560885, 0.83057041083643, 0.6501344202803414, 0.44986557971965857, 0.26942958916356996,
            0.14456400944391146, 0.1,
        ]
        for (step, value) in expected.enumerated() {
            let factor = LearningRateSchedule.cosine.factor(progress: Double(step) / 7, warmUp: 0)
            #expect(abs(factor - value) < 1e-15)
        }
    }

    // OneCycleLR(SGD([p], lr=1.0), max_lr=1.0, total_steps=10), steps 0 to 9: the peak is at step 0.3 · 10 - 1.
    @Test func `one cycle is PyTorch's`() {
        let expected = [
            0.040000000000000036, 0.52, 1.0, 0.9504846320134737, 0.8117456539497631, 0.6112620219362893,
            0.38874197806371075, 0.18825834605023697, 0.049519367986526286, 4e-06,
        ]
        for (step, value) in expected.enumerated() {
            let progress = step <= 2 ? 0.3 * Double(step) / 2 : 0.3 + 0.7 * Double(step - 2) / 7
            #expect(abs(LearningRateSchedule.oneCycle.factor(progress: progress, warmUp: 0.9) - value) < 1e-15)
        }
    }

    @Test(arguments: LearningRateSchedule.allCases)
    func `is never negative, nor above the peak`(schedule: LearningRateSchedule) {
        for step in 0...1000 {
            let factor = schedule.factor(progress: Double(step) / 1000, warmUp: 0.05)
            #expect((0...1).contains(factor))
        }
    }
}
