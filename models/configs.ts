/** Every model of the papers, by the name of its config file. */
import gqa160m from './configs/160m-gqa.json' with { type: 'json' }
import gta160m1 from './configs/160m-gta1.json' with { type: 'json' }
import gta160m2 from './configs/160m-gta2.json' with { type: 'json' }
import mha160m from './configs/160m-mha.json' with { type: 'json' }
import mla160m from './configs/160m-mla.json' with { type: 'json' }
import gqa500m from './configs/500m-gqa.json' with { type: 'json' }
import gta500m3 from './configs/500m-gta3.json' with { type: 'json' }
import gta500m4 from './configs/500m-gta4.json' with { type: 'json' }
import mha500m from './configs/500m-mha.json' with { type: 'json' }
import mla500m from './configs/500m-mla.json' with { type: 'json' }
import gqa1b from './configs/gqa-1b.json' with { type: 'json' }
import gta1b from './configs/gta-1b.json' with { type: 'json' }

export const configs: Readonly<Record<string, unknown>> = {
  'gta-1b': gta1b,
  'gqa-1b': gqa1b,
  '500m-mha': mha500m,
  '500m-mla': mla500m,
  '500m-gqa': gqa500m,
  '500m-gta3': gta500m3,
  '500m-gta4': gta500m4,
  '160m-mha': mha160m,
  '160m-mla': mla160m,
  '160m-gqa': gqa160m,
  '160m-gta1': gta160m1,
  '160m-gta2': gta160m2,
}
