package main

import "strings"

var (
	givenNames = strings.Fields(`
abebe aiko aisha alejandra amina ananya anders ayse babak bahar beatriz bilal bjorn camila carmen chen chiara dalia
daniel deniz dewi diego ebba elif emeka emma enrique esther fatima felix femi freya gabriel giulia hamid hana hugo
ibrahim ines ingrid ivan jamal jana joao jonas jun kaito kamala karim kofi lars leila lena lina luca lucia magda mai
malik mateo maya mei miguel milan miriam nadia naomi nia nikola noor olga omar pablo paula pedro priya rahel ravi rosa
ruben samira sana sofia sven tariq thandi tomas uma valentina wanjiru xin yara yusuf zahra zoe`)

	familyNames = strings.Fields(`
abadi adeyemi aguilar ahmed alvarez andersen baker barbosa berg bianchi boateng castro cohen costa dahl diallo diop
dubois eriksen fernandez fischer garcia ghosh gomez gupta haddad hansen hassan hoang horvat ibrahim ito ivanova jansen
jensen kamau kaplan keita khan kim kovac kumar larsen lee lopez mahlaba martin mensah meyer molina moreau mori murphy
mwangi nakamura ndiaye nguyen novak nowak okafor olsen ortiz osei park patel pereira petrov quispe rahimi ramos reyes
rossi sanchez santos sato schmidt silva singh sokolova suzuki tanaka torres tran usman vargas vega wagner wang weber
wojcik yamada yilmaz zhang zimmer`)

	places = strings.Fields(`
river harbour hill forest station mill market bridge meadow island valley corner north south east west lake orchard`)

	groups = strings.Fields(`
garden choir kitchen theatre workshop library cinema school radio press tenants cyclists bakery film print theory`)

	topics = strings.Fields(`
news garden shop blog calendar assembly photos events plan wiki library tools recipes music maps seeds repair rides
lessons press kids housing climbing chess`)
)
