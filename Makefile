# Rebuild every table and weight that the package ships; docs/rebuild.md explains the chain and its data.
#
#   make rebuild DATA=DIR         from the public files in DIR into the folder `rebuilt`: a day of two cores
#   make rebuild-small            the same chain on 1,500 crystals of the package's own tables: minutes
#   INVDESIGN_TABLES=rebuilt invdesign design …   uses what was built

PYTHON ?= python
OUT ?= rebuilt
WORK ?= $(OUT)-work
DATA ?=
# --small makes every step a trial at small scale
SCALE ?=
KNOWN ?= 800
NEW ?= 600
L3I5 ?= 300
SECOND ?= 200
SMALL_CRYSTALS ?= 1500

export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

S := $(WORK)/steps
TABLES := --out $(OUT)
FROM := --data $(DATA)
STEPS := wyckoff element-data element-features materials hull known formulas elsewhere recipes recipe-reader synthesizability charge-states frequencies ashby mp2020 \
	scale-sevennet-0 scale-sevennet-l3i5 scale-chgnet scale-with-chgnet scale-with-l3i5 gate labelled map \
	known-properties relaxed hardness vae-likelihood correction-first vae-reward correction-second probe gan run-costs

.DEFAULT_GOAL := help
.PHONY: help rebuild rebuild-small $(STEPS) clean-rebuilt
.DELETE_ON_ERROR:

help:  ## this list
	@echo "make rebuild DATA=DIR [OUT=rebuilt] [WORK=rebuilt-work]"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

rebuild: $(STEPS:%=$(S)/%)  ## every table and weight, from the public files in DATA into OUT; goes on where it stopped
	@echo "built in $(OUT); use it with INVDESIGN_TABLES=$(OUT)"

rebuild-small:  ## the whole chain on 1,500 crystals of the package's own tables, into OUT (rebuilt-small)
	$(eval OUT := $(if $(filter rebuilt,$(OUT)),rebuilt-small,$(OUT)))
	$(PYTHON) scripts/sample_small.py --to $(OUT)-work/data --crystals $(SMALL_CRYSTALS)
	$(MAKE) --no-print-directory rebuild OUT=$(OUT) WORK=$(OUT)-work DATA=$(OUT)-work/data SCALE=--small \
		KNOWN=40 NEW=20 L3I5=16 SECOND=8

clean-rebuilt:  ## remove OUT and WORK
	rm -rf -- $(OUT) $(WORK)

$(STEPS): %: $(S)/%

wyckoff:  ## Wyckoff positions as affine maps (PyXtal, moyopy)
element-data:  ## facts of elements for selection (mendeleev)
element-features:  ## numbers of elements for the surrogates (mendeleev, pymatgen)
materials:  ## engineering materials, with a source for every value
hull:  ## phases on the convex hull
known:  ## genes of the known crystals
formulas:  ## formulas of known phases without a crystal
elsewhere:  ## formulas that others have computed or made
recipes:  ## published recipes of synthesis
recipe-reader:  ## tagger of the reader of own recipes
synthesizability:  ## score of synthesizability
charge-states:  ## how common the oxidation states of elements are
frequencies:  ## substitution odds and frequencies for random genes
ashby:  ## known crystals behind the charts of a report
mp2020:  ## published references and corrections of formation energies
scale-sevennet-0:  ## energy scale of SevenNet-0
scale-sevennet-l3i5:  ## energy scale of SevenNet-l3i5
scale-chgnet:  ## energy scale of CHGNet
scale-with-chgnet:  ## how SevenNet-0 is combined with CHGNet
scale-with-l3i5:  ## how SevenNet-0 is combined with SevenNet-l3i5
gate:  ## screening surrogate
labelled:  ## known crystals with moduli as the gate sees them
map:  ## map of materials space behind a chart of a report
known-properties:  ## properties of known crystals, computed or predicted, for the choice of parents
relaxed:  ## surrogate of relaxed crystals
hardness:  ## hardness at a load
vae-likelihood:  ## autoencoder without reward: where the circle of reward and correction starts
correction-first:  ## proposal correction by proposals of that autoencoder
vae-reward:  ## autoencoder rewarded by the corrected gate
correction-second:  ## proposal correction by proposals of the rewarded autoencoder, too
probe:  ## what a first look with few calls of the potential is worth
gan:  ## adversarial generator
run-costs:  ## CPU seconds of each stage of a run, for --dry-run

define step
	@test -n "$(DATA)" || { echo "name the folder of the public files: make rebuild DATA=DIR (docs/rebuild.md)"; exit 2; }
	@mkdir -p $(S) $(OUT)
	$(PYTHON) scripts/$(1) $(TABLES) $(2)
	@touch $@
endef

$(S)/wyckoff:
	$(call step,build_wyckoff_table.py,)
$(S)/element-data:
	$(call step,build_element_data.py,)
$(S)/element-features:
	$(call step,build_element_features.py,)
$(S)/materials: $(S)/element-data
	$(call step,build_engineering_materials.py,)
$(S)/hull: $(S)/wyckoff $(S)/element-data
	$(call step,build_reference.py,$(FROM) --only hull)
$(S)/known: $(S)/wyckoff $(S)/element-data
	$(call step,build_reference.py,$(FROM) --only known)
$(S)/formulas: $(S)/element-data
	$(call step,build_reference.py,$(FROM) --only formulas)
$(S)/elsewhere: $(S)/element-data
	$(call step,build_formulas.py,$(FROM))
$(S)/recipes: $(S)/element-features
	$(call step,build_recipes.py,$(FROM))
$(S)/recipe-reader: $(S)/element-features
	$(call step,train_recipe_reader.py,)
$(S)/synthesizability: $(S)/known $(S)/element-features
	$(call step,train_synthesizability.py,$(SCALE))
$(S)/charge-states: $(S)/known $(S)/element-data
	$(call step,build_charge_states.py,)
$(S)/frequencies: $(S)/known
	$(call step,build_substitution.py,)
$(S)/ashby: $(S)/element-data
	$(call step,build_ashby_cloud.py,$(FROM))
$(S)/mp2020: $(S)/element-data
	$(call step,fit_energy_scale.py,$(FROM) --potential mp2020)
$(S)/scale-sevennet-0: $(S)/mp2020
	$(call step,fit_energy_scale.py,$(FROM) --potential sevennet-0 --known $(KNOWN) --new $(NEW))
$(S)/scale-sevennet-l3i5: $(S)/mp2020
	$(call step,fit_energy_scale.py,$(FROM) --potential sevennet-l3i5 --known $(L3I5) --new $(L3I5))
$(S)/scale-chgnet: $(S)/mp2020
	$(call step,fit_energy_scale.py,$(FROM) --potential chgnet --known $(KNOWN) --new $(NEW))
$(S)/scale-with-chgnet: $(S)/scale-sevennet-0 $(S)/scale-chgnet
	$(call step,fit_energy_scale.py,$(FROM) --potential sevennet-0 --second chgnet --new $(SECOND))
$(S)/scale-with-l3i5: $(S)/scale-with-chgnet $(S)/scale-sevennet-l3i5
	$(call step,fit_energy_scale.py,$(FROM) --potential sevennet-0 --second sevennet-l3i5 --new $(SECOND))
$(S)/gate: $(S)/wyckoff $(S)/element-data $(S)/element-features
	$(call step,train_surrogates.py,$(FROM) --stage gate --cache $(WORK)/cache $(SCALE))
$(S)/labelled: $(S)/gate $(S)/known
	$(call step,build_labelled_crystals.py,$(FROM))
$(S)/map: $(S)/labelled
	$(call step,build_materials_map.py,)
$(S)/known-properties: $(S)/gate $(S)/known
	$(call step,build_known_properties.py,$(FROM))
$(S)/relaxed: $(S)/gate $(S)/hull $(S)/known $(S)/formulas $(S)/scale-sevennet-l3i5
	$(call step,train_surrogates.py,$(FROM) --stage relaxed --cache $(WORK)/cache $(SCALE))
$(S)/hardness: $(S)/gate
	$(call step,train_hardness.py,$(FROM))
$(S)/vae-likelihood: $(S)/gate $(S)/frequencies
	$(call step,train_vae.py,$(FROM) --part likelihood --work $(WORK)/vae $(SCALE))
$(S)/correction-first: $(S)/charge-states $(S)/vae-likelihood $(S)/relaxed $(S)/hardness $(S)/scale-with-l3i5 $(S)/labelled
	$(call step,train_proposal_correction.py,--seed 11 --work $(WORK)/correction $(SCALE))
$(S)/vae-reward: $(S)/correction-first
	$(call step,train_vae.py,$(FROM) --part reward --work $(WORK)/vae $(SCALE))
$(S)/correction-second: $(S)/vae-reward
	$(call step,train_proposal_correction.py,--corrected --seed 12 --work $(WORK)/correction $(SCALE))
$(S)/probe: $(S)/correction-second $(S)/known-properties
	$(call step,fit_probe.py,--work $(WORK)/probe.jsonl $(SCALE))
$(S)/gan: $(S)/correction-second
	$(call step,train_gan.py,$(FROM) --work $(WORK)/gan $(SCALE))
$(S)/run-costs: $(S)/probe $(S)/gan $(S)/ashby $(S)/materials $(S)/scale-with-l3i5
	$(call step,measure_run_costs.py,$(SCALE))
